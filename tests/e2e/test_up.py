"""`lapdev up` and `down` as a user has them: a real server in the background, nothing after it."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lapdev.account import supervisor_pid
from lapdev.demo.checks.processes import descendants, is_alive
from tests.support import needs

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

COMMAND_TIMEOUT = 120.0

APP = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{os.environ['WORD']} {os.getpid()}".encode())

    def log_message(self, *words):
        print("asked", self.path, flush=True)

address = (os.environ.get("BIND", ""), int(os.environ["PORT"]))
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""

COMPOSE = """
services:
  web:
    image: example/web
    command: python3 app.py
    environment: {{WORD: {word}, PORT: 8000}}
    ports: ["8000:8000"]
  api:
    image: example/api
    command: python3 app.py
    environment: {{WORD: api, PORT: 9000}}
    expose: ["9000"]
"""

KUBERNETES = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
        - name: main
          image: example/{name}
          command: [python3, app.py]
          env: [{{name: WORD, value: {word}}}, {{name: PORT, value: "8000"}}]
          readinessProbe: {{httpGet: {{port: 8000}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, annotations: {{lapdev.dev/preview: "true"}}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: 8000}}]
"""


@dataclass(frozen=True, slots=True)
class User:
    """A user with a home of their own, in a folder of theirs."""

    home: Path
    folder: Path

    @property
    def data_dir(self) -> Path:
        return self.home / "data" / "lapdev"

    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LAPDEV_")}
        places = {f"XDG_{kind}_HOME": str(self.home / kind.lower()) for kind in ("DATA", "CONFIG")}
        (self.home / "run").mkdir(mode=0o700, exist_ok=True)
        places["XDG_RUNTIME_DIR"] = str(self.home / "run")
        return {**kept, **places, "HOME": str(self.home), "LAPDEV_LISTEN": "127.0.0.1:0"}

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lapdev", *words],
            cwd=self.folder,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, code: int = 0) -> tuple[str, str]:
        """What the command printed, on either stream, once it ended as expected."""
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=COMMAND_TIMEOUT)
        finally:
            process.kill()
        assert process.returncode == code, out + err
        return out, err

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json")[0])

    def processes(self) -> frozenset[int]:
        pid = supervisor_pid(self.data_dir)
        return descendants(pid) | {pid} if pid else frozenset()


@pytest.fixture
def user() -> Iterator[User]:
    """Whose server, should a test leave one, is killed at the end."""
    with tempfile.TemporaryDirectory(prefix="lu-", dir="/tmp") as name:
        # Pods see an empty /tmp: what they run is elsewhere.
        folder = Path(tempfile.mkdtemp(prefix="lapdev-up-", dir=needs.PROJECT.parent))
        (folder / "app.py").write_text(APP)
        found = User(Path(name), folder)
        try:
            yield found
        finally:
            shutil.rmtree(folder)
            if pid := supervisor_pid(found.data_dir):
                kill(pid)


def kill(pid: int) -> None:
    """The process is gone; what it started goes with it."""
    process = os.pidfd_open(pid)
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)
    select.select([process], [], [], COMMAND_TIMEOUT)
    os.close(process)


def get(url: str) -> tuple[str, int]:
    """The word of the process that answered, and its id in its namespace."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=20)
    try:
        connection.request("GET", "/", headers={"Host": parts.netloc})
        answer = connection.getresponse()
        assert answer.status == 200
        word, _, pid = answer.read().decode().partition(" ")
        return word, int(pid)
    finally:
        connection.close()


def previews(found: Any) -> dict[str, str]:
    return {preview["service"]: preview["url"] for preview in found["previews"]}


def assert_nothing_left(user: User, processes: frozenset[int]) -> None:
    assert [pid for pid in processes if is_alive(pid)] == []
    assert supervisor_pid(user.data_dir) == 0
    with (user.data_dir / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert list((user.home / "run").iterdir()) == []


def test_a_compose_file_comes_up_changes_and_goes(user: User) -> None:
    needs.userns()
    file = user.folder / "compose.yaml"
    file.write_text(COMPOSE.format(word="one"))
    out, err = user.run("up", "--name", "votes")
    assert "started lapdev in the background" in err
    assert "votes is up" in out
    urls = previews(user.json("env", "status", "votes"))
    assert urls["web"] in out
    assert get(urls["web"])[0] == "one"
    # The same again: nothing happens, and the process is the same.
    before = get(urls["web"])
    assert "nothing changed" in user.run("up", "--name", "votes")[1]
    assert get(urls["web"]) == before
    out, _ = user.run("env", "logs", "votes", "-c", "web")
    assert out == "asked /\n" * 3
    # One service changes: its container is another one.
    file.write_text(COMPOSE.format(word="two"))
    out, err = user.run("up", "--name", "votes")
    assert "changed: Deployment/" in err
    assert get(urls["web"])[0] == "two"
    processes = user.processes()
    assert len(processes) > 3
    out, err = user.run("down", "votes")
    assert out == "votes is deleted\nlapdev in the background has ended\n"
    assert_nothing_left(user, processes)
    assert "no such environment" in user.run("down", "votes")[0]


def test_of_kubernetes_objects_only_the_changed_one_restarts(user: User) -> None:
    needs.userns()

    def write(word: str) -> None:
        objects = [("web", word), ("api", "same")]
        texts = [KUBERNETES.format(name=name, word=text) for name, text in objects]
        (user.folder / "shop.yaml").write_text("---\n".join(texts))

    write("one")
    made = user.json("up", "shop.yaml", "--name", "shop")
    assert made["status"] == "ready"
    urls = previews(made)
    pids = {name: get(url) for name, url in urls.items()}
    (apis,) = [p for p in user.processes() if works_as(p, "same")]
    write("two")
    changes = user.json("up", "shop.yaml", "--name", "shop")["changes"]
    assert changes["changed"] == ["Deployment/web"]
    assert sorted(changes["unchanged"]) == ["Deployment/api", "Service/api", "Service/web"]
    assert get(urls["web"])[0] == "two"
    assert get(urls["api"]) == pids["api"]
    assert is_alive(apis)
    # Another environment keeps the server.
    user.run("up", "shop.yaml", "--name", "other")
    assert user.json("down", "shop") == {"deleted": ["shop"], "server_ended": False}
    processes = user.processes()
    assert user.json("down", "--all") == {"deleted": ["other"], "server_ended": True}
    assert_nothing_left(user, processes)


def works_as(pid: int, word: str) -> bool:
    try:
        return f"WORD={word}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def test_watching_applies_what_is_written_and_ctrl_c_leaves_it(user: User) -> None:
    needs.userns()
    file = user.folder / "compose.yaml"
    file.write_text(COMPOSE.format(word="one"))
    process = user.start("up", "--name", "votes", "--watch")
    assert process.stderr is not None
    try:
        read_until(process.stderr, "watching for changes")
        url = previews(user.json("env", "status", "votes"))["web"]
        file.write_text("services: [")
        read_until(process.stderr, "lapdev: ")
        file.write_text(COMPOSE.format(word="two"))
        read_until(process.stderr, "changed: Deployment/")
        read_until(process.stderr, "watching for changes")
        assert get(url)[0] == "two"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=COMMAND_TIMEOUT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "votes stays up" in err
    assert "Traceback" not in err
    assert get(url)[0] == "two"
    processes = user.processes()
    user.run("down", "--all")
    assert_nothing_left(user, processes)


def read_until(stream: Any, text: str) -> None:
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"it ended without {text!r}")


def test_a_server_that_was_killed_does_not_confuse_the_next(user: User) -> None:
    text = KUBERNETES.format(name="web", word="one")
    # Without isolation pods are told apart by their addresses.
    address = "{name: BIND, valueFrom: {fieldRef: {fieldPath: status.podIP}}}"
    text = text.replace("env: [", f"env: [{address}, ")
    (user.folder / "web.yaml").write_text(text)
    user.run("up", "web.yaml", "--name", "votes", "--no-isolation")
    pid = supervisor_pid(user.data_dir)
    processes = user.processes()
    kill(pid)
    assert "does not run here any more" in user.run("env", "list", code=1)[1]
    out, _ = user.run("up", "web.yaml", "--name", "votes", "--no-isolation")
    assert "votes is up" in out
    assert supervisor_pid(user.data_dir) not in (0, pid)
    user.run("down", "--all")
    assert_nothing_left(user, processes)


def test_a_port_that_is_taken_is_no_obstacle_but_one_that_was_chosen_is(user: User) -> None:
    (user.folder / "compose.yaml").write_text(COMPOSE.format(word="one"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = user.environ() | {"LAPDEV_LISTEN": f"127.0.0.1:{port}"}
        done = subprocess.run(
            [sys.executable, "-m", "lapdev", "up"],
            cwd=user.folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "did not start: cannot listen on 127.0.0.1" in done.stderr
    assert supervisor_pid(user.data_dir) == 0


README = (needs.PROJECT / "README.md").read_text()


def readme_file(name: str) -> str:
    """The block after the mark that names it."""
    return README.partition(f"<!-- file: {name} -->\n```yaml\n")[2].partition("```")[0]


def test_the_readmes_compose_file_comes_up(user: User) -> None:
    needs.userns()
    folder = user.folder / "hello"  # the project's name is its folder's
    folder.mkdir()
    (folder / "compose.yaml").write_text(readme_file("compose.yaml"))
    found = user.json("up", "hello/compose.yaml")
    shown = README.partition("$ lapdev up\n")[2].partition("```")[0]
    assert f"created: {', '.join(found['changes']['created'])}\n" in shown
    (url,) = [preview["url"] for preview in found["previews"]]
    assert status_of(url) == 200
    out, _ = user.run("up", "hello")
    *_, block = shown.partition("hello is up.")
    assert words_of(out.partition("hello is up.")[2]) == words_of(block)
    assert user.json("down", "--all")["server_ended"]


def words_of(block: str) -> list[str]:
    """Its words; URLs differ from one run to the next."""
    return ["URL" if word.startswith("http://") else word for word in block.split()]


def test_the_readmes_commands_do_what_is_written_beside_them(user: User) -> None:
    needs.userns()
    (user.folder / "k8s").mkdir()
    (user.folder / "k8s" / "api.yaml").write_text(readme_file("k8s/api.yaml"))
    block = README.partition("lapdev up --name shop")[2].partition("```")[0]
    lines = ("lapdev up --name shop" + block).splitlines()
    printed = {}
    for line in lines:
        words = line.partition("#")[0].split()
        assert words[0] == "lapdev"
        if words[1] == "down":
            urls = [line.split()[2] for line in printed["preview"].splitlines()[1:]]
            assert [status_of(url) for url in urls] == [200, 200]
            processes = user.processes()
        out, _ = user.run(*words[1:])
        printed[words[1]] = printed.get(words[1], "") + out
    assert "version 2\n" in printed["env"]
    assert "version 1\n" not in printed["env"]
    assert_nothing_left(user, processes)


def status_of(url: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=20)
    try:
        connection.request("GET", "/", headers={"Host": parts.netloc})
        return connection.getresponse().status
    finally:
        connection.close()
