"""A visitor who asks for a gigabyte and takes a kilobyte of it a second."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from tests.faults.client import Doors
from tests.faults.keyed import KeyedReader

DOWNLOAD_BYTES, DOWNLOAD_RATE = 2**30, 1e9
READ_BYTES, READ_INTERVAL = 1_024, 1.0
RECEIVE_BUFFER = 4_096
OK = b"HTTP/1.1 200 "


async def read_slowly(doors: Doors, name: str, stop: asyncio.Event) -> int:
    """Bytes read, all of them right; -1 when one was not. One that is sent away is not asked."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    own.setblocking(False)
    loop = asyncio.get_running_loop()
    check = KeyedReader(name)
    try:
        await loop.sock_connect(own, doors.address)
        target = f"/down?name={name}&bytes={DOWNLOAD_BYTES}&rate={DOWNLOAD_RATE}&chunked=0"
        await loop.sock_sendall(
            own, f"GET {target} HTTP/1.1\r\nHost: {doors.http}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := await loop.sock_recv(own, READ_BYTES)):
                return 0
            head += data
        if not head.startswith(OK):
            return 0
        check.feed(head.partition(b"\r\n\r\n")[2])
        while not stop.is_set():
            check.feed(await loop.sock_recv(own, READ_BYTES))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), READ_INTERVAL)
    except ConnectionError:
        pass
    finally:
        own.close()
    return -1 if check.wrong_at >= 0 else check.offset
