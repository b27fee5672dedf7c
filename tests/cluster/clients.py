"""Pods that do something in the cluster and listen only if it succeeded.

Ready means yes; a failure shows in the status' detail.
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

from tests.cluster.contract import World, deployment

LISTEN = "\nimport socket; sock = socket.create_server(('', 8080)); sock.accept()\n"
GET = """
import os, time, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
def get(host, port=80):
    return opener.open(f"http://{host}:{port}/", timeout=5).read().decode()
"""


def client(name: str, script: str) -> dict[str, Any]:
    manifest = deployment(name)
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["command"] = [sys.executable, "-S", "-c", GET + textwrap.dedent(script) + LISTEN]
    return manifest


async def wait_ready_or_say_why(world: World, namespace: str = "shop") -> None:
    def settled() -> bool:
        problems = [each.detail for each in world.driver.status(namespace) if each.detail]
        assert not problems, problems
        return world.ready(namespace)

    await world.wait(settled)


DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("parent", flush=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True: time.sleep(100)
    os._exit(0)
import socket
sock = socket.create_server(("", 8080))
while True: time.sleep(100)
"""
