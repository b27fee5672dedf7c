"""Parsing one request head of ten fields: ours beside h11 (Python) and httptools (C, llhttp).

What is timed is what a proxy needs of each: the head validated, its fields listed, and the parser
ready for the next request of the connection. Rounds are interleaved and their order shuffled, so
that a machine whose speed drifts does not favour one of them.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import h11
import httptools

from lapdev.wire.http1 import RequestParser

HEAD = (
    b"GET /api/v1/items/42?sort=price&page=3 HTTP/1.1\r\n"
    b"Host: 8080-web-k3v9x0a1b2c3.preview.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: application/json, text/plain, */*\r\n"
    b"Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Referer: https://8080-web-k3v9x0a1b2c3.preview.example.com/cart\r\n"
    b"Cookie: session=4f1c2a9be0d34f6aa1e07d1f2b7c9d3e; theme=dark\r\n"
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    b"tracestate: lapdev-env-id=b7k2m9x4c1d8f3g6,vendor=1\r\n"
    b"Connection: keep-alive\r\n"
    b"\r\n"
)

REQUESTS = 5_000


def ours() -> int:
    """Requests parsed on one connection."""
    parser = RequestParser()
    fields = 0
    for _ in range(REQUESTS):
        head = parser.receive_data(HEAD)[0]
        fields += len(head.headers)  # type: ignore[union-attr]
        parser.start_next()
    return fields


def with_h11() -> int:
    """The same with h11, whose connection wants an answer before it goes on."""
    connection = h11.Connection(h11.SERVER)
    fields = 0
    answer = h11.Response(status_code=204, headers=[])
    for _ in range(REQUESTS):
        connection.receive_data(HEAD)
        request = connection.next_event()
        fields += len(request.headers)  # type: ignore[union-attr]
        connection.next_event()
        connection.send(answer)
        connection.send(h11.EndOfMessage())
        connection.start_next_cycle()
    return fields


class _Collecting:
    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.fields = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_message_complete(self) -> None:
        self.fields += len(self.headers)
        self.headers = []


def with_httptools() -> int:
    """The same with httptools; its callbacks collect the fields into a list."""
    collecting = _Collecting()
    parser = httptools.HttpRequestParser(collecting)
    for _ in range(REQUESTS):
        parser.feed_data(HEAD)
    return collecting.fields


def run(rounds: int) -> None:
    """Prints microseconds per request: median, and the spread of the rounds."""
    contestants: dict[str, Callable[[], int]] = {
        "lapdev": ours,
        f"h11 {version('h11')}": with_h11,
        f"httptools {version('httptools')}": with_httptools,
    }
    counts = {name: contestant() for name, contestant in contestants.items()}  # also the warm-up
    if len(set(counts.values())) != 1:
        raise SystemExit(f"the parsers disagree about the fields: {counts}")
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name in random.sample(list(contestants), len(contestants)):
            start = time.process_time()
            contestants[name]()
            times[name].append((time.process_time() - start) / REQUESTS * 1e6)
    base = statistics.median(times["lapdev"])
    print(f"\nhttp1_parse: one 10-field request head, {rounds} rounds of {REQUESTS}")
    print(f"{'parser':<22}{'median us':>10}{'min':>8}{'max':>8}{'x lapdev':>10}")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(
            f"{name:<22}{median:>10.2f}{min(taken):>8.2f}{max(taken):>8.2f}{median / base:>10.2f}"
        )
