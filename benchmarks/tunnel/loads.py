"""What a tunnel carries: `python -m benchmarks.tunnel.loads sink|prober …`.

Bulk is an answer without end and a sink that counts; small requests come from a prober that waits
a little between two, so that it measures waiting and not throughput.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import time

BLOCK = 1 << 20
PAUSE = 0.001
"""Between an answer and the next request of the prober."""

_HEAD = b"GET %b HTTP/1.1\r\nHost: backend\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"
REQUEST = _HEAD % b"/"
BULK = _HEAD % b"/bulk"


def sink(address: tuple[str, int], streams: int, warm: float, seconds: float) -> None:
    """Counts what comes on so many connections. A line when the count begins, one at its end."""
    space = memoryview(bytearray(BLOCK))
    chosen = selectors.DefaultSelector()
    counts: dict[socket.socket, int] = {}
    for _ in range(streams):
        made = socket.create_connection(address, timeout=10)
        made.sendall(BULK)
        made.setblocking(False)
        counts[made] = 0
        chosen.register(made, selectors.EVENT_READ)
    begin = time.monotonic() + warm
    end = begin + seconds
    counting = False
    while (now := time.monotonic()) < end:
        if not counting and now >= begin:
            counting, begin = True, now
            counts = dict.fromkeys(counts, 0)
            _say(event="begin")
        for key, _ in chosen.select(0.1):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if not (size := sock.recv_into(space)):
                raise SystemExit("the stream ended")
            counts[sock] += size
    took = time.monotonic() - begin
    least, most = min(counts.values()), max(counts.values())
    _say(event="end", octets=sum(counts.values()), seconds=took, least=least, most=most)


def prober(address: tuple[str, int], seconds: float) -> None:
    """Round trips of small requests on one connection, in microseconds."""
    sock = socket.create_connection(address, timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.perf_counter()
        sock.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"body\n"):
            data = sock.recv(65_536)
            if not data:
                raise SystemExit("the connection ended")
            answer += data
        times.append(time.perf_counter() - begun)
        time.sleep(PAUSE)
    times.sort()
    picked = {f"p{share:g}": times[int(len(times) * share / 100)] * 1e6 for share in (50, 99)}
    _say(event="end", count=len(times), most=times[-1] * 1e6, **picked)


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("load", choices=["sink", "prober"])
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--warm", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    host, _, port = given.address.rpartition(":")
    address = (host, int(port))
    if given.load == "sink":
        sink(address, given.streams, given.warm, given.seconds)
    else:
        prober(address, given.seconds)


if __name__ == "__main__":
    main()
