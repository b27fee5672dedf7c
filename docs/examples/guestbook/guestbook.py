"""Kubernetes' guestbook tutorial: written to the redis leader, read from its followers."""

import html
import http.server
import socket
import urllib.parse


def redis(host, *words):
    """The lines of a redis server's answer to one command."""
    with socket.create_connection((host, 6379), timeout=2) as connection:
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        with connection.makefile("rb") as answer:
            head = answer.readline().decode().strip()
            count = int(head[1:]) if head.startswith("*") else 0
            return [answer.read(int(answer.readline()[1:]) + 2)[:-2].decode() for _ in range(count)]


class Guestbook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        entries = redis("redis-follower", "LRANGE", "guests", "0", "-1")
        self.answer("".join(f"<p>{html.escape(entry)}</p>" for entry in entries))

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        redis("redis-leader", "RPUSH", "guests", urllib.parse.parse_qs(form)["entry"][0])
        self.answer("<p>written</p>")

    def answer(self, text):
        body = f"<!doctype html><title>Guestbook</title>{text}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("", 80), Guestbook).serve_forever()
