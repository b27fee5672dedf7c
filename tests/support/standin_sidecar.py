"""A sidecar that only relays, as a program: what the local driver's tests run in its place.

Started with `--launch-fd N` like the real one; needs nothing but Python.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def serve(launch: dict[str, Any], port: dict[str, Any]) -> asyncio.Server:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(
                launch["app_host"], port["target_port"]
            )
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))
        writer.close()
        up_writer.close()

    return await asyncio.start_server(take, launch["bind_host"], port["proxy_port"])


async def main() -> None:
    fd = int(sys.argv[sys.argv.index("--launch-fd") + 1])
    with os.fdopen(fd) as document:
        launch = json.load(document)
    servers = [await serve(launch, port) for port in launch["ports"]]
    print("standin serves", len(servers), "token", len(launch["token"]), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
