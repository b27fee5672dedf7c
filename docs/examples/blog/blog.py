"""A small blog: `migrate` makes its table, `web` serves pages, `api` serves JSON, `seed` adds a post.

The database is SQLite in the folder BLOG_DATA; the title comes from a config, the key from a secret.
"""

import hmac
import http.server
import json
import os
import pathlib
import sqlite3
import sys

DATABASE = pathlib.Path(os.environ["BLOG_DATA"]) / "blog.db"


def migrate():
    with sqlite3.connect(DATABASE) as database:
        database.execute("CREATE TABLE IF NOT EXISTS posts (id INTEGER PRIMARY KEY, text TEXT)")
    print("migrated", DATABASE, flush=True)


def seed():
    with sqlite3.connect(DATABASE) as database:
        database.execute("INSERT OR REPLACE INTO posts VALUES (1, 'Hello')")
    print("seeded", flush=True)


class Blog(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with sqlite3.connect(DATABASE) as database:
            posts = [text for (text,) in database.execute("SELECT text FROM posts ORDER BY id")]
        if sys.argv[1] == "api":
            self.answer("application/json", json.dumps({"path": self.path, "posts": posts}))
        else:
            title = pathlib.Path(os.environ["BLOG_TITLE_FILE"]).read_text().strip()
            self.answer(
                "text/html", f"<title>{title}</title>" + "".join(f"<p>{p}</p>" for p in posts)
            )

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        key = pathlib.Path(os.environ["BLOG_KEY_FILE"]).read_text().strip()
        if not hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {key}"):
            return self.send_error(401)
        with sqlite3.connect(DATABASE) as database:
            database.execute("INSERT INTO posts (text) VALUES (?)", (text,))
        self.answer("text/plain", "kept")

    def answer(self, kind, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if sys.argv[1] in ("migrate", "seed"):
    {"migrate": migrate, "seed": seed}[sys.argv[1]]()
else:
    http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Blog).serve_forever()
