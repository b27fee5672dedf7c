"""The shop's search for machines without `node`: the same service as search.mjs.

Version v1 minds upper and lower case, which is the bug that branch `search-fix` mends.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

VERSION = os.environ.get("VERSION", "v1")
HOP = {"service": "search", "version": VERSION, "runtime": "python"}
CATALOG: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("catalog.json").read_text(encoding="utf-8")
)


def find(query: str) -> list[dict[str, Any]]:
    if VERSION == "v1":
        return [item for item in CATALOG if query in item["name"]]
    return [item for item in CATALOG if query.lower() in item["name"].lower()]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/search":
            query = parse_qs(url.query).get("q", [""])[0]
            self.answer(200, {"hop": HOP, "items": find(query)})
        elif url.path == "/healthz":
            self.answer(200, {"ok": True})
        else:
            self.answer(404, {"error": "no such page"})

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The demo keeps its terminal for what the visitor does."""


class Server(ThreadingHTTPServer):
    request_queue_size = 128


def main() -> None:
    address = (os.environ.get("POD_IP", "0.0.0.0"), int(os.environ.get("PORT", "8090")))
    server = Server(address, Handler)
    # shutdown() waits for serve_forever, which this very thread runs.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
