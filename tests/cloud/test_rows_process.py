"""F16, F17, F20 and F21: a cloud as a process of its own, where something has run out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lapdev.net.overload import OVERLOADED_SHARE, PRESSED_SHARE
from tests.support import needs
from tests.support.memory_group import MemoryGroup, memory_group
from tests.support.raw_tunnel import Closed, raw_tunnel

pytestmark = pytest.mark.e2e

MIB = 2**20
REQUEST = b"GET /api/v1/clusters HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class CloudProcess:
    process: subprocess.Popen[bytes]
    socket: str
    folder: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def token(self) -> str:
        return (self.folder / "cluster").read_text().strip()

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.socket)

    async def ask(self) -> bytes:
        """The head of the answer to one request on a connection of its own."""
        reader, writer = await self.dial()
        writer.write(REQUEST)
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return head

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


@contextmanager
def cloud_process(
    folder: Path,
    *,
    stderr: Path | None = None,
    extra: dict[str, str] | None = None,
    before: Callable[[], None] | None = None,
    through: tuple[str, ...] = (),
) -> Iterator[CloudProcess]:
    """A cloud that is ready; `before` runs in the child before it begins, `through` becomes it."""
    folder.mkdir(exist_ok=True)
    ready, told = os.pipe()
    address = f"{folder}/c.sock"
    flags = ["--listen", "127.0.0.1:0", "--internal-listen", f"unix:{address}", "--admin", ""]
    flags += ["--data-dir", f"{folder}/data", "--cluster-token-file", f"{folder}/cluster"]
    flags += ["--ready-fd", str(told), "--log-level", "debug"]
    flags += ["--bootstrap-token-file", f"{folder}/bootstrap"]
    with (stderr or folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*through, sys.executable, "-m", "lapdev", "serve", "--role", "cloud", *flags],
            stderr=log,
            pass_fds=(told,),
            preexec_fn=before,  # noqa: PLW1509 - no thread of ours runs
            env={k: v for k, v in os.environ.items() if not k.startswith("LAPDEV_")}
            | (extra or {}),
        )
        os.close(told)
        try:
            assert os.read(ready, 16), "the cloud did not start"
            yield CloudProcess(process, address, folder)
        finally:
            os.close(ready)
            process.kill()
            process.wait()


async def test_f16_a_log_that_takes_no_more_stops_nothing(tmp_path: Path) -> None:
    with cloud_process(tmp_path, stderr=Path("/dev/full")) as cloud:
        fields = (f"Authorization: Bearer {cloud.token()}",)
        async with raw_tunnel(f"unix:{cloud.socket}", {}, fields=fields) as peer:
            for number in range(1, 50):
                assert (await cloud.ask()).startswith(b"HTTP/1.1 401 ")
                peer.send([8, number])
                assert (await peer.next_of(9))[1] == number
        assert cloud.stop() == 0


async def test_f17_a_clock_that_jumps_drops_no_tunnel(tmp_path: Path) -> None:
    needs.tool("faketime")
    libraries = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert libraries
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    extra = {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with cloud_process(tmp_path / "cloud", extra=extra) as cloud:
        fields = (f"Authorization: Bearer {cloud.token()}",)
        async with raw_tunnel(f"unix:{cloud.socket}", {}, fields=fields) as peer:
            for number, offset in enumerate(("+1h", "-1h", "-60", "+3650d"), start=1):
                clock.write_text(f"{offset}\n")
                await asyncio.sleep(1.1)  # the library looks once a second
                peer.send([8, number])
                assert (await peer.next_of(9))[1] == number
                assert (await cloud.ask()).startswith(b"HTTP/1.1 401 ")
            # Other frames than answers would say that it has begun to probe, or to leave.
            assert {frame[0] for frame in peer.frames} <= {1, 8, 9, 10}
            assert len(peer.of(8)) <= 1, "a round trip is measured once"
        assert cloud.stop() == 0
        log = (tmp_path / "cloud" / "log").read_text()
    assert log.count('"event": "tunnel_opened"') == 1
    assert '"level": "error"' not in log
    assert '"time": "203' in log, "its clock did jump"


@contextmanager
def limited(limit: int) -> Iterator[MemoryGroup]:
    try:
        group = memory_group(limit)
        entered = group.__enter__()
    except OSError as exc:
        needs._missing(f"a memory control group of version 1: {exc}")
    try:
        yield entered
    finally:
        group.__exit__(None, None, None)


@pytest.mark.parametrize("share", [PRESSED_SHARE, OVERLOADED_SHARE])
async def test_f20_a_cloud_near_its_memory_limit_sheds_and_lives(
    tmp_path: Path, share: float
) -> None:
    needs.root()
    with cloud_process(tmp_path / "unlimited") as cloud:
        await cloud.ask()
        usual = cloud.resident_bytes()
    # So that what it usually holds is a twentieth above that share of its limit.
    limit = int(usual / (share + 0.05)) & ~4095
    with (
        limited(limit) as group,
        cloud_process(tmp_path / "limited", before=group.enter) as cloud,
    ):
        for _ in range(100):
            head = await cloud.ask()
            if b"connection: close" in head.lower():
                break
            await asyncio.sleep(0.05)
        fields = (f"Authorization: Bearer {cloud.token()}",)
        with pytest.raises(Closed) as refused:
            async with raw_tunnel(f"unix:{cloud.socket}", {}, fields=fields):
                pass
        assert refused.value.code == 1013
        if share == OVERLOADED_SHARE:
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after" in head.lower()
        else:
            assert head.startswith(b"HTTP/1.1 401 ")
        assert cloud.stop() == 0


async def test_f21_with_256_descriptors_clients_wait_the_process_rests_and_recovers(
    tmp_path: Path,
) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    with cloud_process(tmp_path, before=few) as cloud:
        clients = [await cloud.dial() for _ in range(300)]
        waiting = asyncio.get_running_loop().create_task(cloud.ask(), name="who waits")
        done, _ = await asyncio.wait({waiting}, timeout=1.0)
        assert not done
        before = cloud.cpu_seconds()
        await asyncio.wait({waiting}, timeout=1.0)
        assert cloud.cpu_seconds() - before < 0.2, "it spins"
        for _, writer in clients:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        assert (await waiting).startswith(b"HTTP/1.1 401 ")
        log = (tmp_path / "log").read_text()
        assert 1 <= log.count('"event": "accept_paused"') <= 4
        assert cloud.stop() == 0
