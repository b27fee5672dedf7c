"""F22: what one stream's handler does wrong ends that stream, and nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from lapdev.errors import CallFailed, StreamReset, TunnelError
from lapdev.tunnel import Stream
from lapdev.wire.control import Done, Message, ReportCluster
from tests.support.raw_tunnel import raw_tunnel
from tests.support.tunnel_ends import TARGET, Ends, Recorder, connected

CALL = ReportCluster(version="0.1", driver="local")


class Broken(Recorder):
    """Raises where it is told to."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def data_received(self, data: bytes) -> None:
        if self.where == "data":
            raise ValueError("a fault in a handler")
        super().data_received(data)

    def eof_received(self) -> bool:
        if self.where == "eof":
            raise ValueError("a fault in a handler")
        return super().eof_received()


async def still_well(ends: Ends, echo: Recorder) -> None:
    """The tunnel, and a stream that was open all the while."""
    echo.transport.write(b"still here")
    await echo.wait_until(lambda seen: bytes(seen.data).endswith(b"still here"))
    assert await ends.acceptor.tunnel.call(CALL) == Done()
    assert ends.watcher.up == [False]
    assert not ends.watcher.down


@pytest.mark.parametrize("where", ["opened", "data", "eof"])
async def test_f22_a_fault_in_one_streams_handler_ends_that_stream_only(
    tmp_path: Path, where: str
) -> None:
    async with connected(tmp_path) as ends:
        opener, echo = ends.acceptor.tunnel, Recorder()
        ends.watcher.serve = lambda stream: stream.accept(Recorder(echo=True))
        opener.open_stream(TARGET, echo)
        await echo.wait_until(lambda seen: seen.accepted)

        def serve(stream: Stream) -> None:
            if where == "opened":
                raise ValueError("a fault in a handler")
            stream.accept(Broken(where))

        ends.watcher.serve = serve
        victim = Recorder()
        with structlog.testing.capture_logs() as logs:
            stream = opener.open_stream(TARGET, victim)
            stream.write(b"x")
            stream.write_eof()
            await victim.wait_until(lambda seen: bool(seen.lost))
        assert isinstance(victim.lost[0], (StreamReset, TunnelError))
        assert len([line for line in logs if line["event"] == "stream_failed"]) == 1
        await still_well(ends, echo)
        assert opener.stream_count == 1


async def test_f22_a_fault_in_a_calls_handler_is_an_answer(tmp_path: Path) -> None:
    def fault(message: Message) -> Message:
        raise ValueError("a fault in a handler")

    async with connected(tmp_path) as ends:
        ends.watcher.answer = fault
        with structlog.testing.capture_logs(), pytest.raises(CallFailed) as caught:
            await ends.acceptor.tunnel.call(CALL)
        assert "a fault in a handler" not in str(caught.value), "our insides are not the peer's"
        ends.watcher.answer = lambda message: Done()
        assert await ends.acceptor.tunnel.call(CALL) == Done()
        assert not ends.watcher.down


async def test_f22_a_poisoned_frame_ends_its_tunnel_and_no_other(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.watcher.serve = lambda stream: stream.accept(Recorder(echo=True))
        echo = Recorder()
        ends.acceptor.tunnel.open_stream(TARGET, echo)
        for poison in (b"\xc1", b"\x92\x04", b"\x91\x07", b""):
            async with raw_tunnel(f"unix:{tmp_path}/s", {}) as peer:
                peer.send_message(poison + b"\xc1")
                assert (await peer.closed()).code in (1002, 1007)
        await still_well(ends, echo)
