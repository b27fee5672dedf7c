"""Numbers tickets: the last number is in PostgreSQL, and for a second in redis."""

import http.server
import os
import socket
import subprocess

DATABASE = ["psql", "-h", os.environ["DATABASE_HOST"], "-U", "postgres", "-qtA"]


def sql(statement):
    return subprocess.run(
        [*DATABASE, "-c", statement], capture_output=True, text=True, check=True
    ).stdout


def cached(number):
    with socket.create_connection((os.environ["CACHE_HOST"], 6379)) as connection:
        connection.sendall(f"SETEX last 1 {number}\r\n".encode())
        return connection.recv(100) == b"+OK\r\n"


class Tickets(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        number = sql("SELECT nextval('tickets')").strip()
        body = f"ticket {number}, cached: {cached(number)}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


sql("CREATE SEQUENCE IF NOT EXISTS tickets")
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Tickets).serve_forever()
