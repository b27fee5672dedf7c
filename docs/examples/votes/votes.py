"""Docker's example voting app in one file: a form, a queue (redis), a worker, a table (PostgreSQL).

`python3 votes.py vote|worker|result`; every address is a Compose service name.
"""

import html
import http.server
import os
import socket
import subprocess
import sys
import time
import urllib.parse

PAGE = "<!doctype html><title>{0}</title><h1>{0}</h1>{1}"
FORM = "<form method=post><button name=vote value=cats>Cats</button><button name=vote value=dogs>Dogs</button></form>"


def redis(*words):
    """One command to the service `redis`; its answer without the protocol's marks."""
    with socket.create_connection(("redis", 6379)) as connection:
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        with connection.makefile("rb") as answer:
            line = answer.readline().decode().strip()
            if line.startswith("$") and line != "$-1":
                return answer.read(int(line[1:])).decode()
            return None if line == "$-1" else line[1:]


def sql(statement, *values):
    """The rows of one statement, run by psql against the service `db`; `:'v1'` is the first value."""
    named = [f"--set=v{number}={value}" for number, value in enumerate(values, 1)]
    done = subprocess.run(
        ["psql", "-h", "db", "-U", "postgres", "-qtA", "-v", "ON_ERROR_STOP=1", *named],
        input=statement,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split("|") for line in done.stdout.splitlines()]


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Vote(Page):
    def do_GET(self):
        self.answer(PAGE.format(os.environ.get("TITLE", "Cats or dogs?"), FORM))

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        choice = urllib.parse.parse_qs(form)["vote"][0]
        redis("RPUSH", "votes", choice)
        self.answer(PAGE.format("Thank you", html.escape(choice)))


class Result(Page):
    def do_GET(self):
        rows = sql("SELECT choice, count(*) FROM votes GROUP BY choice ORDER BY choice")
        self.answer(PAGE.format("Result", "".join(f"<p>{c}: {n}</p>" for c, n in rows)))


def work():
    sql("CREATE TABLE IF NOT EXISTS votes (choice text NOT NULL)")
    print("waiting for votes", flush=True)
    while True:
        choice = redis("LPOP", "votes")
        if choice is None:
            time.sleep(0.2)
            continue
        sql("INSERT INTO votes VALUES (:'v1')", choice)
        print("counted", choice, flush=True)


if sys.argv[1] == "worker":
    work()
handler, port = {"vote": (Vote, 8080), "result": (Result, 8081)}[sys.argv[1]]
http.server.ThreadingHTTPServer(("", port), handler).serve_forever()
