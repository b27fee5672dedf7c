"""Every service of a small shop: it says who it is, what it was given, and what those it calls said.

NAME, CALLS (a list of URLs), and for the catalogue a file of goods. With `report` it prints one
line and ends, as a cron worker does.
"""

import http.server
import json
import os
import pathlib
import sys
import urllib.request

NAME = os.environ["NAME"]
CALLS = os.environ.get("CALLS", "").split()


def call(url, tracestate=""):
    request = urllib.request.Request(url, headers={"tracestate": tracestate})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        tracestate = self.headers.get("tracestate", "")
        said = {"name": NAME, "path": self.path, "version": os.environ.get("VERSION", "1")}
        if "GOODS" in os.environ:
            said["goods"] = pathlib.Path(os.environ["GOODS"]).read_text().split()
        if "CURRENCY" in os.environ:
            said["currency"] = os.environ["CURRENCY"]
        said["calls"] = [call(url, tracestate) for url in CALLS] if self.path != "/healthz" else []
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if "report" in sys.argv:
    print("report:", json.dumps([call(url)["name"] for url in CALLS]), flush=True)
else:
    http.server.ThreadingHTTPServer(("", 8080), Service).serve_forever()
