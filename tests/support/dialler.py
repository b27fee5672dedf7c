"""A program for pods: it dials what a request tells it to, and says how that went.

`/dial?HOST:PORT` answers `connected` or why not, `/fetch?URL` the status and body of a request,
`/addresses?SERVICE` the pod's own address and the service's.
"""

import errno
import http.server
import os
import socket
import sys
import urllib.error
import urllib.request


def dial(place: str) -> str:
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except socket.gaierror:
        return "no such name"
    except OSError as exc:
        return errno.errorcode.get(exc.errno or 0, str(exc))
    return "connected"


def fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return f"{answer.status} {answer.read().decode()}"
    except urllib.error.HTTPError as exc:
        return f"{exc.code} {exc.headers.get('lapdev-error', '')}"
    except OSError as exc:
        return str(exc)


def addresses(service: str) -> str:
    return f"{os.environ['IP']} {socket.gethostbyname(service)}"


class Dialler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, _, argument = self.path.partition("?")
        answers = {"/dial": dial, "/fetch": fetch, "/addresses": addresses}
        answers["/who"] = lambda _: os.environ["WHO"]
        body = answers.get(path, lambda _: "?")(argument).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Dialler).serve_forever()
