"""The whole path of a preview request in one process, with an app at its end that records.

Client socket → the cloud's listener and edge → a real tunnel → a manager that relays streams → a
real sidecar → a raw TCP app. The app reads with h11, which is not our parser: what it takes for a
request is what a stranger would. Written once, for every corpus of bad inputs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h11
import httpx

from tests.support.raw import AppConnection, RawClient, RecordingApp, connect, recording_app
from tests.support.running_cloud import RunningCloud, StandInManager, connected, running_cloud
from tests.support.shop_manifests import shop
from tests.support.sidecar import launch, running

CLOSE_TIMEOUT = 1.0
"""Seconds within which a refused connection is closed."""


@dataclass(slots=True)
class Seen:
    """One request as the app read it, complete."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        """The value of each field called `name` (lower case)."""
        return [value for key, value in self.headers if key == name]


@dataclass
class Backend:
    """The app: echoes each body, and keeps what came."""

    answer: bytes = b""
    """Sent in place of the echo, as it is; then the connection is closed."""
    seen: list[Seen] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """What it could not read as HTTP. An end in the middle of a request is not among them."""

    def forget(self) -> None:
        """A new case begins."""
        self.answer = b""
        self.seen.clear()
        self.broken.clear()

    async def script(self, connection: AppConnection) -> None:
        """Serves one connection."""
        reader = h11.Connection(h11.SERVER)
        while data := await connection.reader.read(65_536):
            reader.receive_data(data)
            try:
                while self._take(reader, connection):
                    pass
            except h11.RemoteProtocolError as exc:
                self.broken.append(str(exc))
                return
            if self.answer and self.seen:
                return

    def _take(self, reader: h11.Connection, connection: AppConnection) -> bool:
        event = reader.next_event()
        if isinstance(event, h11.Request):
            self._begun = Seen(event.method, event.target, list(event.headers))
        elif isinstance(event, h11.Data):
            self._begun.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            self.seen.append(self._begun)
            self._reply(reader, connection)
        return event not in (h11.NEED_DATA, h11.PAUSED)

    def _reply(self, reader: h11.Connection, connection: AppConnection) -> None:
        if self.answer:
            connection.send(self.answer)
            return
        body = self._begun.body
        fields = [
            (b"content-length", b"%d" % len(body)),
            (b"x-seen-requests", b"%d" % len(self.seen)),
        ]
        for event in (
            h11.Response(status_code=200, headers=fields, reason=b"OK"),
            h11.Data(body if self._begun.method != b"HEAD" else b""),
            h11.EndOfMessage(),
        ):
            connection.send(reader.send(event) or b"")
        if reader.our_state is h11.DONE and reader.their_state is h11.DONE:
            reader.start_next_cycle()


@dataclass
class Stage:
    """The path, standing."""

    cloud: RunningCloud
    backend: Backend
    host: str
    """Of the preview of the environment itself."""
    branch_host: str
    branch: str
    """The branch's id."""
    port: int
    """Where the cloud listens for browsers."""

    def get(self, target: str = "/") -> bytes:
        """A request with nothing wrong."""
        return f"GET {target} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode()


@asynccontextmanager
async def whole_path(folder: Path) -> AsyncIterator[Stage]:
    """Everything between a browser and an app, torn down afterwards."""
    backend = Backend()
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(recording_app(backend.script))
        sidecar = await stack.enter_async_context(running(launch(app.port)))
        pod = RecordingApp(int(sidecar.addresses[0].rpartition(":")[2]))
        cloud = await stack.enter_async_context(running_cloud(folder))
        manager = StandInManager({"web": pod})
        tunnel = connected(cloud, "manager", cloud.cluster_token, manager)
        await stack.enter_async_context(tunnel)
        body = {"name": "shop", "kind": "shared", "manifests": shop()}
        await cloud.ok("POST", "/environments", body)
        branch = await cloud.ok("POST", "/environments/shop/branches", {"name": "fix"})
        previews = await cloud.ok("GET", "/environments/shop/previews")
        url = httpx.URL(previews["previews"][0]["url"])
        yield Stage(
            cloud, backend, url.host, await cloud.label_of("fix"), branch["id"], url.port or 80
        )


MODES = ("whole", "bytes", "lines", "behind a GET", "before a GET")


def pieces(data: bytes, mode: str, valid: bytes) -> list[bytes]:
    """What is written, one write each, when `data` is sent in this mode."""
    match mode:
        case "bytes":
            return [data[i : i + 1] for i in range(len(data))]
        case "lines":
            return [piece for piece in re.split(rb"(?<=[\r\n])", data) if piece]
        case "behind a GET":
            return [valid + data]
        case "before a GET":
            return [data + valid]
    return [data]


@dataclass
class Outcome:
    """What a client saw of one connection."""

    statuses: list[int]
    fields: dict[str, str]
    """Of the last answer."""
    closed: bool
    body: bytes = b""
    """Of the last answer."""


async def send(stage: Stage, writes: list[bytes], answers: int, *, closing: bool) -> Outcome:
    """The writes on a connection of their own; `answers` are awaited, and the end if `closing`."""
    async with connect(stage.port) as client:
        for piece in writes:
            client.send(piece)
            # The reader is in this loop, too: it must have its turn before the next piece.
            for _ in range(2 if len(writes) > 1 else 0):
                await asyncio.sleep(0)
        return await read(client, answers, closing=closing)


async def read(client: RawClient, answers: int, *, closing: bool) -> Outcome:
    """The answers that come, at most `answers` of them, and the end if `closing`."""
    outcome = Outcome([], {}, closed=False)
    try:
        for _ in range(answers):
            status, outcome.fields, outcome.body = await client.response()
            outcome.statuses.append(status)
        if closing:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                outcome.closed = await client.reader.read(1) == b""
    except asyncio.IncompleteReadError:
        outcome.closed = True
    except TimeoutError:
        outcome.closed = False
    return outcome
