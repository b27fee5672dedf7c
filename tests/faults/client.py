"""The clients of the load: each does one thing over its own connection, and says how it ended."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.faults.history import History, Kind, Operation, Outcome
from tests.faults.keyed import KeyedReader, keyed
from tests.faults.pacing import Pace

PIECE_BYTES = 65_536
SAYS_NO = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Doors:
    """Where one tenant's previews are reached."""

    address: tuple[str, int]
    """Of the cloud."""
    http: str
    """Host names."""
    websocket: str
    tcp: tuple[str, int]


class CutError(Exception):
    """The connection ended before the answer did."""


class RefusedError(Exception):
    """An answer that is not the one asked for."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(body[:200].decode(errors="replace"))
        self.status = status


@dataclass(slots=True)
class Connection:
    """HTTP/1.1 as a careful client speaks it: what is not complete is never taken as such."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: bool = False

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Connection:
        try:
            return cls(*await asyncio.open_connection(*address, limit=PIECE_BYTES))
        except OSError as exc:
            raise CutError(f"cannot connect: {exc}") from exc

    async def head(self) -> tuple[int, dict[str, str]]:
        """Of the next answer."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = text.split("\r\n")
        pairs = (line.partition(":") for line in lines[1:-2])
        return int(lines[0].split(" ")[1]), {
            name.lower(): value.strip() for name, _, value in pairs
        }

    async def body(self, fields: dict[str, str], check: KeyedReader, operation: Operation) -> None:
        """All of it has been compared. Raises when the end does not come as announced."""
        if fields.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                await self._take(size, check, operation)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
        else:
            await self._take(int(fields["content-length"]), check, operation)

    async def _take(self, left: int, check: KeyedReader, operation: Operation) -> None:
        while left:
            data = await self.reader.read(min(left, PIECE_BYTES))
            if not data:
                raise CutError("end of the connection within the body")
            check.feed(data)
            operation.progress(len(data))
            left -= len(data)

    async def text(self, fields: dict[str, str]) -> bytes:
        """A short body that is no keyed one."""
        if fields.get("transfer-encoding") != "chunked":
            return await self.reader.readexactly(int(fields.get("content-length", "0")))
        whole = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            whole += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return whole

    def close(self) -> None:
        self.writer.close()


@dataclass(slots=True)
class Client:
    """All that one tenant's visitors do."""

    doors: Doors
    history: History
    tenant: str = "main"
    random: random.Random = field(default_factory=random.Random)
    _idle: list[Connection] = field(default_factory=list)

    async def get(self, name: str, size: int) -> None:
        """GET over a connection that is kept alive, or a new one."""
        operation = self.history.begin(Kind.GET, name, self.tenant)
        await self._ended(operation, self._get(operation, size))

    async def _get(self, operation: Operation, size: int) -> None:
        request = self._head("GET", "/small", operation.name, f"&bytes={size}")
        while True:
            connection = (
                self._idle.pop() if self._idle else await Connection.open(self.doors.address)
            )
            check = KeyedReader(operation.name)
            try:
                connection.writer.write(request)
                status, fields = await connection.head()
            except (asyncio.IncompleteReadError, ConnectionError) as exc:
                connection.close()
                nothing = not isinstance(exc, asyncio.IncompleteReadError) or not exc.partial
                if connection.used and nothing:
                    continue  # it was closed while it was idle: any client asks again
                raise
            try:
                if status != 200:
                    raise refusal(operation, status, await connection.text(fields))
                await connection.body(fields, check, operation)
                compare(check, size)
            except BaseException:
                connection.close()
                raise
            connection.used = True
            self._idle.append(connection)
            return

    async def post(self, name: str, size: int) -> None:
        """POST with an id that is executed at most once, over a connection of its own."""
        operation = self.history.begin(Kind.POST, name, self.tenant)
        await self._ended(operation, self._post(operation, size))

    async def _post(self, operation: Operation, size: int) -> None:
        connection = await Connection.open(self.doors.address)
        try:
            head = self._head(
                "POST", "/post", operation.name, f"&bytes={size}", f"Content-Length: {size}\r\n"
            )
            connection.writer.write(head + keyed(operation.name, 0, size))
            status, fields = await connection.head()
            body = await connection.text(fields)
            if status != 200:
                raise refusal(operation, status, body)
            if body != operation.name.encode():
                raise WrongError(0)
        finally:
            connection.close()

    async def download(self, name: str, size: int, rate: float) -> None:
        operation = self.history.begin(Kind.DOWNLOAD, name, self.tenant)
        await self._ended(operation, self._download(operation, size, rate))

    async def _download(self, operation: Operation, size: int, rate: float) -> None:
        connection = await Connection.open(self.doors.address)
        try:
            chunked = self.random.randrange(2)
            query = f"&bytes={size}&rate={rate}&chunked={chunked}"
            connection.writer.write(self._head("GET", "/down", operation.name, query))
            status, fields = await connection.head()
            if status != 200:
                raise refusal(operation, status, await connection.text(fields))
            check = KeyedReader(operation.name)
            await connection.body(fields, check, operation)
            compare(check, size)
        finally:
            connection.close()

    async def upload(self, name: str, size: int, rate: float) -> None:
        operation = self.history.begin(Kind.UPLOAD, name, self.tenant)
        await self._ended(operation, self._upload(operation, size, rate))

    async def _upload(self, operation: Operation, size: int, rate: float) -> None:
        """Asks before it sends, so that bytes travel in both directions from the start."""
        connection = await Connection.open(self.doors.address)
        try:
            chunked = bool(self.random.randrange(2))
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
            extra = f"{framing}\r\nExpect: 100-continue\r\n"
            connection.writer.write(self._head("POST", "/up", operation.name, "", extra))
            status, fields = await connection.head()
            if status == 100:
                async with asyncio.TaskGroup() as both:
                    sending = both.create_task(
                        self._send_body(connection, operation, size, (rate, chunked))
                    )
                    # An answer that comes early says that there is no point in going on.
                    status, fields = await connection.head()
                    sending.cancel()
            body = await connection.text(fields)
            if status != 200:
                raise refusal(operation, status, body)
            received, wrong_at = (int(word) for word in body.split())
            if wrong_at >= 0:
                raise WrongError(wrong_at)
            if received != size:
                raise TruncatedError(f"{received} of {size} bytes arrived")
        finally:
            connection.close()

    async def _send_body(
        self, connection: Connection, operation: Operation, size: int, how: tuple[float, bool]
    ) -> None:
        rate, chunked = how
        pace, sent = Pace(rate), 0
        while sent < size:
            piece = keyed(operation.name, sent, min(PIECE_BYTES, size - sent))
            connection.writer.write(
                f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if chunked else piece
            )
            await connection.writer.drain()
            sent += len(piece)
            operation.progress(len(piece))
            await pace.spent(len(piece))
        if chunked:
            connection.writer.write(b"0\r\n\r\n")
            await connection.writer.drain()

    async def websocket(self, name: str, interval: float) -> None:
        """Messages of a keyed stream, each echoed before the next; until it is cancelled or cut."""
        operation = self.history.begin(Kind.WEBSOCKET, name, self.tenant)
        await self._ended(operation, self._websocket(operation, interval))

    async def _websocket(self, operation: Operation, interval: float) -> None:
        url, (host, port) = f"ws://{self.doors.websocket}/", self.doors.address
        try:
            async with connect(
                url,
                host=host,
                port=port,
                open_timeout=65,
                ping_interval=None,
                compression=None,
                proxy=None,
                close_timeout=5,
            ) as peer:
                offset, due = 0, asyncio.get_running_loop().time()
                while True:
                    size = self.random.randint(200, 4_000)
                    message = keyed(operation.name, offset, size)
                    await peer.send(message)
                    if await peer.recv() != message:
                        raise WrongError(offset)
                    offset += size
                    operation.progress(2 * size)
                    now = asyncio.get_running_loop().time()
                    due = max(due + interval, now)
                    await asyncio.sleep(due - now)
        except WebSocketException as exc:
            raise CutError(f"websocket: {exc}") from exc

    async def tcp(self, name: str, size: int, rate: float) -> None:
        """A keyed stream through a raw TCP echo, compared when it comes back."""
        operation = self.history.begin(Kind.TCP, name, self.tenant)
        await self._ended(operation, self._tcp(operation, size, rate))

    async def _tcp(self, operation: Operation, size: int, rate: float) -> None:
        connection = await Connection.open(self.doors.tcp)
        check = KeyedReader(operation.name)

        async def send() -> None:
            pace, sent = Pace(rate), 0
            while sent < size:
                piece = keyed(operation.name, sent, min(8_192, size - sent))
                connection.writer.write(piece)
                await connection.writer.drain()
                sent += len(piece)
                await pace.spent(len(piece))
            connection.writer.write_eof()

        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(send())
                while data := await connection.reader.read(PIECE_BYTES):
                    check.feed(data)
                    operation.progress(2 * len(data))
                    if check.wrong_at >= 0:
                        break
                if check.offset < size and check.wrong_at < 0:
                    # A clean end of raw TCP is a statement that this was all.
                    raise TruncatedError(f"clean end after {check.offset} of {size} bytes")
            compare(check, size)
        finally:
            connection.close()

    def _head(self, method: str, path: str, name: str, query: str = "", extra: str = "") -> bytes:
        target = f"{path}?name={name}{query}"
        return f"{method} {target} HTTP/1.1\r\nHost: {self.doors.http}\r\n{extra}\r\n".encode()

    async def _ended(self, operation: Operation, doing: object) -> None:
        """The operation is in the history, with how it ended."""
        outcome, detail = Outcome.OK, ""
        try:
            await doing  # type: ignore[misc]
        except asyncio.CancelledError:
            outcome = Outcome.STOPPED
        except BaseException as exc:
            outcome, detail = judged(exc)
        self.history.end(operation, outcome, detail)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class WrongError(Exception):
    """A byte that is not the stream's own."""

    def __init__(self, at: int) -> None:
        super().__init__(f"wrong at {at}")


class TruncatedError(Exception):
    """Too few, and presented as all."""


def judged(error: BaseException) -> tuple[Outcome, str]:
    """What the error means for the operation."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case WrongError():
            return Outcome.WRONG, str(error)
        case TruncatedError():
            return Outcome.TRUNCATED, str(error)
        case RefusedError():
            return Outcome.REFUSED, str(error)
        case CutError() | OSError() | asyncio.IncompleteReadError():
            return Outcome.CUT, str(error)
    raise error


def refusal(operation: Operation, status: int, body: bytes) -> Exception:
    operation.status = status
    if status in SAYS_NO:
        return RefusedError(status, body)
    with suppress(UnicodeDecodeError):
        return TruncatedError(f"status {status}: {body[:200].decode()}")
    return TruncatedError(f"status {status}")


def compare(check: KeyedReader, size: int) -> None:
    if check.wrong_at >= 0:
        raise WrongError(check.wrong_at)
    if check.offset != size:
        raise TruncatedError(f"{check.offset} of {size} bytes")
