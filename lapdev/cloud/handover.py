"""From one cloud process to the next: listening sockets, and the word who serves.

The process that serves answers on a Unix socket in its data directory. The next one asks there for
every listening socket (SCM_RIGHTS), starts to serve on them, and says so; only then the first
accepts nothing more and finishes what it has. Until that word nothing has changed for anybody:
when the next one dies before it, the first goes on.

    next → first   {"take_over": 1}
    first → next   {"sockets": [[asked, address], …], "more": false}   one descriptor for each
    next → first   {"serving": true}
    first → next   {"released": true}
    first → next   {"changed": true}      whenever a request that it had still changes something

One message is one record (SOCK_SEQPACKET). The connection lasts for as long as the first lives.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lapdev.errors import ConfigError, LapdevError
from lapdev.log import get_logger
from lapdev.net.address import UNIX_PATH_BYTES
from lapdev.net.readiness import wait_readable, wait_writable
from lapdev.net.sockets import LeftSocket
from lapdev.net.tasks import Tasks

SOCKET_NAME = "handover.sock"
VERSION = 1
ANSWER_TIMEOUT = 10.0
"""A process that serves answers within this time, however loaded it is."""

_BATCH = 64
"""Descriptors in one message; the kernel takes 253."""
_RECORD_BYTES = 65_536


class Handover:
    """The end of the process that serves."""

    def __init__(self, data_dir: Path, offers: Callable[[], list[LeftSocket]]) -> None:
        """`offers` says which sockets there are when somebody asks."""
        self.taken = asyncio.Event()
        """Another process serves from now on. `release` is to follow."""
        self._data_dir = data_dir
        self._offers = offers
        self._tasks = Tasks()
        self._listener: socket.socket | None = None
        self._inode = 0
        """Of the listener's path: another process may have put its own there."""
        self._successor: _Channel | None = None

    def start(self, *, following: bool = False) -> None:
        """The next process can ask. What stood at the path before is replaced.

        Raises:
            ConfigError: another process has begun to serve meanwhile, and we follow nobody.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with _locked(self._data_dir), _reachable(self._data_dir) as path:
                if not following:
                    refuse_a_second(self._data_dir)
                draft = path.with_name(f".{SOCKET_NAME}-{os.getpid()}")
                draft.unlink(missing_ok=True)
                sock.bind(str(draft))
                draft.chmod(0o600)
                sock.listen(4)
                self._inode = draft.stat().st_ino
                draft.replace(path)
        except ConfigError:
            sock.close()
            raise
        except OSError as exc:
            sock.close()
            get_logger().warning("handover_not_offered", error=exc.strerror)
            return
        sock.setblocking(False)
        self._listener = sock
        self._tasks.spawn(self._accept(sock), "hand-over")

    def release(self) -> None:
        """The next process hears that nothing is accepted here any more."""
        assert self._successor is not None, "nobody has taken over"
        self._tell({"released": True})

    def tell_changed(self) -> None:
        """The next process reads again what is stored."""
        if self._successor is not None:
            self._tell({"changed": True})

    async def aclose(self) -> None:
        """Nobody can ask any more; the path is free unless it is another's by now. Idempotent."""
        await self._tasks.aclose()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with _locked(self._data_dir), _reachable(self._data_dir) as path:
                if path.exists() and path.stat().st_ino == self._inode:
                    path.unlink()
        if self._successor is not None:
            self._successor.close()
            self._successor = None

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._successor is not None
        # One message is far less than what a socket holds; who does not read has other troubles.
        with contextlib.suppress(OSError):
            self._successor.sock.send(json.dumps(message).encode())

    async def _accept(self, listener: socket.socket) -> None:
        while not self.taken.is_set():
            await wait_readable(listener)
            try:
                accepted, _ = listener.accept()
            except OSError:
                continue  # it left again
            channel = _Channel(accepted)
            kept = False
            try:
                kept = await self._hand_over(channel)
            except (OSError, TimeoutError, ValueError, KeyError, LapdevError) as exc:
                get_logger().warning("handover_failed", error=str(exc) or type(exc).__name__)
            finally:
                if not kept:
                    channel.close()

    async def _hand_over(self, channel: _Channel) -> bool:
        """Whether another process serves now."""
        if channel.peer_user() not in (0, os.geteuid()):
            return False
        async with asyncio.timeout(ANSWER_TIMEOUT):
            question, _ = await channel.receive()
        if question.get("take_over") != VERSION:
            return False
        offers = self._offers()
        batches = [offers[at : at + _BATCH] for at in range(0, len(offers), _BATCH)] or [[]]
        for number, batch in enumerate(batches, 1):
            names = [[left.asked, left.address] for left in batch]
            message = {"sockets": names, "more": number < len(batches)}
            await channel.send(message, [left.sock.fileno() for left in batch])
        # For as long as its start takes: a process that is gone is seen at once.
        answer, _ = await channel.receive()
        if not answer.get("serving"):
            get_logger().warning("handover_failed", error="the next process ended first")
            return False
        self._successor = channel
        self.taken.set()
        return True


class Predecessor:
    """The process that served before, seen by the one that follows it."""

    def __init__(self, channel: _Channel, sockets: list[LeftSocket]) -> None:
        self.sockets = sockets
        """What it listened on; the caller's to use or close."""
        self._channel = channel

    @classmethod
    async def meet(cls, data_dir: Path) -> Predecessor | None:
        """The process that serves with this data directory, ready to be followed; None: nobody.

        Raises:
            ConfigError: there is one, and it does not hand over.
        """
        channel = _connect(data_dir)
        if channel is None:
            return None
        sockets: list[LeftSocket] = []
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await channel.send({"take_over": VERSION})
                more = True
                while more:
                    message, fds = await channel.receive()
                    if not message:
                        raise EOFError("it hung up")
                    sockets += _left(message, fds)
                    more = bool(message.get("more"))
        except (OSError, TimeoutError, ValueError, EOFError) as exc:
            channel.close()
            for left in sockets:
                left.sock.close()
            raise _not_handed_over(data_dir, exc) from exc
        return cls(channel, sockets)

    async def succeed(self) -> None:
        """We serve: the one before has been told, and accepts nothing more."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self._channel.send({"serving": True})
                await self._channel.receive()
        except (OSError, TimeoutError, ValueError) as exc:
            get_logger().warning("predecessor_lost", error=str(exc) or type(exc).__name__)

    async def follow(self, changed: Callable[[], Awaitable[None]]) -> None:
        """`changed()` is awaited whenever the process before changes something; over when it is."""
        with contextlib.suppress(OSError, ValueError):
            while (await self._channel.receive())[0]:
                await changed()

    def close(self) -> None:
        """Idempotent."""
        self._channel.close()


class _Channel:
    """Records of JSON with descriptors."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)

    def peer_user(self) -> int:
        credentials = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", credentials)[1])

    async def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        while True:
            try:
                self.sock.sendmsg([json.dumps(message).encode()], rights)
                return
            except BlockingIOError:
                await wait_writable(self.sock)

    async def receive(self) -> tuple[dict[str, Any], list[int]]:
        """({}, []) when the other end is gone."""
        space = socket.CMSG_SPACE(_BATCH * array.array("i").itemsize)
        while True:
            try:
                data, ancillary, _, _ = self.sock.recvmsg(
                    _RECORD_BYTES, space, socket.MSG_CMSG_CLOEXEC
                )
                break
            except BlockingIOError:
                await wait_readable(self.sock)
        fds = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        message = json.loads(data) if data else {}
        if not isinstance(message, dict):
            raise ValueError("not a message of a hand-over")
        return message, list(fds)

    def close(self) -> None:
        self.sock.close()


def _left(message: dict[str, Any], fds: list[int]) -> Iterator[LeftSocket]:
    """Raises ValueError when a descriptor is missing, with none left open."""
    socks = [socket.socket(fileno=fd) for fd in fds]
    names = message.get("sockets")
    if not isinstance(names, list) or len(names) != len(socks):
        for sock in socks:
            sock.close()
        raise ValueError("a message without its sockets")
    for (asked, address), sock in zip(names, socks, strict=True):
        yield LeftSocket(str(asked), str(address), sock)


def _not_handed_over(data_dir: Path, error: Exception) -> ConfigError:
    """What to do depends on who else there is: it serves one that asks at a time."""
    what = f"the cloud that serves from {data_dir} "
    if isinstance(error, TimeoutError):
        return ConfigError(
            f"{what}does not answer, or another process is just taking over from it",
            hint="wait for that one and try again; if there is none, stop the cloud and start anew",
        )
    if isinstance(error, ConnectionError | EOFError):
        return ConfigError(
            f"{what}hung up: another process has just taken over from it, or it ended",
            hint="look whether one serves by now; start this again if it is to be replaced, too",
        )
    return ConfigError(f"{what}does not hand over", hint="stop it, or look at its log")


def _connect(data_dir: Path) -> _Channel | None:
    """None where nobody answers.

    Raises:
        ConfigError: somebody does, and not to us.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.setblocking(False)
    try:
        with _reachable(data_dir) as path:
            sock.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except BlockingIOError as exc:  # as many as it lets wait do so already
        sock.close()
        raise _not_handed_over(data_dir, TimeoutError()) from exc
    except OSError as exc:
        sock.close()
        raise ConfigError(
            f"cannot ask the cloud that serves from {data_dir} to hand over: {exc.strerror}",
            hint="start this as the user who runs that one",
        ) from exc
    return _Channel(sock)


def refuse_a_second(data_dir: Path) -> None:
    """Raises ConfigError: a cloud serves from there."""
    channel = _connect(data_dir)
    if channel is not None:
        channel.close()
        raise ConfigError(
            f"a cloud serves from {data_dir} already",
            hint="to replace it without a gap add --take-over; for another one beside it choose "
            "another --data-dir",
        )


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Nobody else changes who is at the path meanwhile."""
    fd = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _reachable(data_dir: Path) -> Iterator[Path]:
    """The socket's path, short enough for a socket however deep the data directory is."""
    path = data_dir / SOCKET_NAME
    if len(os.fsencode(path)) + 16 <= UNIX_PATH_BYTES:
        yield path
        return
    fd = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{fd}/{SOCKET_NAME}")
    finally:
        os.close(fd)


@contextlib.asynccontextmanager
async def predecessor(data_dir: Path, take_over: bool) -> AsyncIterator[Predecessor | None]:
    """The process to be followed, if that is asked for and there is one.

    Raises:
        ConfigError: there is one, and it does not hand over, or is not to be followed.
    """
    if not take_over:
        refuse_a_second(data_dir)
    found = await Predecessor.meet(data_dir) if take_over else None
    if take_over and found is None:
        hint = "starting as usual"
        get_logger().info("nobody_to_take_over_from", target=str(data_dir), hint=hint)
    try:
        yield found
    finally:
        if found is not None:
            found.close()
