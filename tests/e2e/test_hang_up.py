"""SIGHUP to `lapdev serve` under load: another cloud serves, and nobody's request fails."""

from __future__ import annotations

import http.client
import signal
import threading

import pytest

from tests.support import needs
from tests.support.server_process import ServerProcess, server_process
from tests.support.shop_manifests import service

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CLIENTS = 4
APP = (
    "import http.server as h\n"
    "class A(h.BaseHTTPRequestHandler):\n"
    "    protocol_version = 'HTTP/1.1'\n"
    "    def do_GET(self):\n"
    "        self.send_response(200)\n"
    "        self.send_header('Content-Length', str(len(self.path)))\n"
    "        self.end_headers()\n"
    "        self.wfile.write(self.path.encode())\n"
    "    def log_message(self, *words): pass\n"
    "h.ThreadingHTTPServer(('127.0.0.1', 8080), A).serve_forever()\n"
)


def manifests() -> list[dict[str, object]]:
    container = {"name": "web", "image": "web:1", "command": ["python3", "-c", APP]}
    pod = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": pod}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": spec,
    }
    return [deployment, service("web", {"port": 8080}, preview=True)]


class Load:
    """Threads that ask without a pause, over connections they keep while they may."""

    def __init__(self, server: ServerProcess, host: str) -> None:
        self.port, self.host = server.port, host
        self.served = 0
        self.failed: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        number = 0
        while not self._over.is_set():
            number += 1
            try:
                connection.request("GET", f"/{number}", headers={"Host": self.host})
                answer = connection.getresponse()
                body = answer.read()
            except OSError as exc:
                self.failed.append(f"{number}: {exc!r}")
                connection.close()
                continue
            if answer.status != 200 or body != b"/%d" % number:
                self.failed.append(f"{number}: {answer.status} {body!r}")
            self.served += 1
        connection.close()


def test_a_hang_up_under_load_fails_nobodys_request() -> None:
    needs.userns()
    with server_process() as server:
        server.api(
            "POST", "/environments", {"name": "s", "kind": "shared", "manifests": manifests()}
        )
        server.wait_ready("s")
        found = server.api("GET", "/environments/s/previews")["previews"]
        host = found[0]["url"].removeprefix("http://").rstrip("/")
        server.wait(lambda: server.get(f"http://{host}/1").status == 200, "the preview answers")
        first, manager = server.of_role("cloud"), server.of_role("manager")
        with Load(server, host) as load:
            server.wait(lambda: load.served > 100, "there is load")
            assert server.process is not None
            server.process.send_signal(signal.SIGHUP)
            server.wait(lambda: first[0] not in server.of_role("cloud"), "the first is gone")
            before = load.served
            server.wait(lambda: load.served > before + 100, "the second serves")
        assert load.failed == []
        (second,) = server.of_role("cloud")
        assert second != first[0]
        assert server.of_role("manager") == manager, "nobody else was touched"
        assert server.api("GET", "/environments/s")["status"] == "ready"
        assert server.stop() == 0
        server.wait(server.nothing_left, "nothing is left")
