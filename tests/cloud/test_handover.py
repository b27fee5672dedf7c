"""One process hands its listening sockets to the next; nobody is left without either."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lapdev.cloud.handover import SOCKET_NAME, Handover, Predecessor, predecessor
from lapdev.errors import ConfigError
from lapdev.net.sockets import LeftSocket


@contextlib.asynccontextmanager
async def offering(
    folder: Path, count: int = 2, *, following: bool = False
) -> AsyncIterator[tuple[Handover, list[str]]]:
    """A process that serves, and the addresses it listens on."""
    with contextlib.ExitStack() as stack:
        offers = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            offers.append(LeftSocket("127.0.0.1:0", f"127.0.0.1:{sock.getsockname()[1]}", sock))
        handover = Handover(folder, lambda: offers)
        handover.start(following=following)
        try:
            async with asyncio.timeout(20):
                yield handover, [left.address for left in offers]
        finally:
            await handover.aclose()


def close_all(found: Predecessor) -> None:
    for left in found.sockets:
        left.sock.close()
    found.close()


async def test_every_socket_arrives_and_both_know_when_the_other_goes_on(tmp_path: Path) -> None:
    async with offering(tmp_path, 150) as (handover, addresses):
        found = await Predecessor.meet(tmp_path)
        assert found is not None
        assert [left.address for left in found.sockets] == addresses
        ports = [f"127.0.0.1:{left.sock.getsockname()[1]}" for left in found.sockets]
        assert ports == addresses, "each under its name"
        assert not handover.taken.is_set(), "nothing has happened yet"
        succeeding = asyncio.get_running_loop().create_task(found.succeed())
        await handover.taken.wait()
        assert not succeeding.done(), "the one before still accepts"
        handover.release()
        await succeeding
        close_all(found)


async def test_what_the_process_before_still_changes_is_told_until_it_is_gone(
    tmp_path: Path,
) -> None:
    async with offering(tmp_path) as (handover, _):
        found = await Predecessor.meet(tmp_path)
        assert found is not None
        handover.tell_changed()  # before: nobody else is there to be told
        succeeding = asyncio.get_running_loop().create_task(found.succeed())
        await handover.taken.wait()
        handover.release()
        await succeeding
        changes: asyncio.Queue[None] = asyncio.Queue()
        following = asyncio.get_running_loop().create_task(found.follow(lambda: changes.put(None)))
        handover.tell_changed()
        await changes.get()
        assert not following.done()
        await handover.aclose()
        await following
        assert changes.empty()
        close_all(found)


async def test_one_that_dies_before_it_serves_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with offering(tmp_path) as (handover, addresses):
        first = await Predecessor.meet(tmp_path)
        assert first is not None
        close_all(first)
        second = await Predecessor.meet(tmp_path)
        assert second is not None
        assert [left.address for left in second.sockets] == addresses
        assert not handover.taken.is_set()
        close_all(second)


async def test_the_next_one_has_the_path_and_the_first_leaves_it_alone(tmp_path: Path) -> None:
    async with offering(tmp_path) as (first, _):
        found = await Predecessor.meet(tmp_path)
        assert found is not None
        succeeding = asyncio.get_running_loop().create_task(found.succeed())
        await first.taken.wait()
        first.release()
        await succeeding
        async with offering(tmp_path, 1, following=True) as (_, addresses):
            await first.aclose()
            third = await Predecessor.meet(tmp_path)
            assert third is not None
            assert [left.address for left in third.sockets] == addresses
            close_all(third)
        close_all(found)
    assert not (tmp_path / SOCKET_NAME).exists()


async def test_without_anybody_there_is_nothing_to_take_over(tmp_path: Path) -> None:
    async with predecessor(tmp_path, take_over=True) as found:
        assert found is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(tmp_path / SOCKET_NAME))  # by one that was killed
    assert await Predecessor.meet(tmp_path) is None


async def test_without_being_asked_for_two_never_serve_from_one_directory(tmp_path: Path) -> None:
    async with predecessor(tmp_path, take_over=False) as found:
        assert found is None
    async with offering(tmp_path):
        with pytest.raises(ConfigError, match=r"serves from .* already") as caught:
            async with predecessor(tmp_path, take_over=False):
                pass
        assert "--take-over" in caught.value.hint
        async with predecessor(tmp_path, take_over=True) as found:  # it goes on offering
            assert found is not None
            close_all(found)
    async with predecessor(tmp_path, take_over=False) as found:
        assert found is None


async def test_of_two_that_start_at_once_one_serves(tmp_path: Path) -> None:
    late = Handover(tmp_path, list)
    async with offering(tmp_path):
        with pytest.raises(ConfigError, match="already"):
            late.start()
        await late.aclose()
        async with predecessor(tmp_path, take_over=True) as found:  # the first goes on offering
            assert found is not None
            close_all(found)


async def test_one_that_stands_still_is_no_reason_to_stand_still(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stuck,
        contextlib.ExitStack() as held,
    ):
        stuck.bind(str(tmp_path / SOCKET_NAME))
        stuck.listen(0)
        first = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        first.connect(str(tmp_path / SOCKET_NAME))
        for take_over in (True, False):
            with pytest.raises(ConfigError, match="does not answer"):
                async with predecessor(tmp_path, take_over=take_over):
                    pass


async def test_a_deep_data_directory_has_a_socket_too(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*("a-rather-long-name" for _ in range(8)))
    deep.mkdir(parents=True)
    async with offering(deep) as (_, addresses):
        found = await Predecessor.meet(deep)
        assert found is not None
        assert [left.address for left in found.sockets] == addresses
        close_all(found)
    assert list(deep.iterdir()) == []


async def test_only_this_user_can_ask(tmp_path: Path) -> None:
    async with offering(tmp_path):
        assert (tmp_path / SOCKET_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("question", [b"{}", b"[]", b"nonsense", b'{"take_over": 99}'])
async def test_who_asks_for_something_else_gets_nothing(tmp_path: Path, question: bytes) -> None:
    async with offering(tmp_path) as (handover, _):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(tmp_path / SOCKET_NAME))
            client.send(question)
            client.settimeout(5)
            assert await asyncio.to_thread(client.recv, 1000) == b""
        found = await Predecessor.meet(tmp_path)
        assert found is not None, "and the next is answered as ever"
        assert not handover.taken.is_set()
        close_all(found)


async def test_a_process_that_hands_nothing_over_is_an_error_not_a_second_cloud(
    tmp_path: Path,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / SOCKET_NAME))
        listener.listen(1)

        def answer() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.recv(1000)
                accepted.send(json.dumps({"sockets": [["a", "b"]], "more": False}).encode())

        answering = asyncio.get_running_loop().run_in_executor(None, answer)
        with pytest.raises(ConfigError, match="does not hand over"):
            await Predecessor.meet(tmp_path)
        await answering


async def test_of_two_that_ask_at_once_the_second_is_told_why_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with offering(tmp_path) as (handover, _):
        first = await Predecessor.meet(tmp_path)
        assert first is not None
        monkeypatch.setattr("lapdev.cloud.handover.ANSWER_TIMEOUT", 0.05)
        with pytest.raises(ConfigError, match="another process is just taking over") as refused:
            await Predecessor.meet(tmp_path)
        assert refused.value.hint.startswith("wait for that one")
        monkeypatch.undo()
        second = asyncio.get_running_loop().create_task(Predecessor.meet(tmp_path))
        succeeding = asyncio.get_running_loop().create_task(first.succeed())
        await handover.taken.wait()
        handover.release()
        await succeeding
        await handover.aclose()
        with pytest.raises(ConfigError, match="has just taken over"):
            await second
        close_all(first)


async def test_a_socket_that_is_not_ours_to_ask_is_an_error_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    async with offering(tmp_path):  # root may ask everybody, so the kernel's answer is ours here
        monkeypatch.setattr("socket.socket.connect", refused)
        with pytest.raises(ConfigError, match="Permission denied") as error:
            await Predecessor.meet(tmp_path)
        assert error.value.hint == "start this as the user who runs that one"
