"""F16: a disk that takes no more stops nothing but what has to be stored."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cloud.test_rows_process import CloudProcess, cloud_process
from tests.support import needs
from tests.support.raw import answer_every_request, recording_app
from tests.support.running_cloud import RunningCloud, StandInManager, connected
from tests.support.shop_manifests import shop

pytestmark = pytest.mark.e2e

DISK = "2m"  # as little as the database and its log fit on
ON_A_SMALL_DISK = f'mount -t tmpfs -o size={DISK} tmpfs "$0" && exec "$@"'
ON_A_READ_ONLY_DISK = 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"'


def on_disk(script: str, folder: Path) -> tuple[str, ...]:
    """The command that gives what follows it a data directory of its own kind."""
    needs.userns()
    data = folder / "data"
    data.mkdir(parents=True)
    unshare = str(needs.tool("unshare"))
    return (unshare, "--user", "--map-root-user", "--mount", "sh", "-c", script, str(data))


@asynccontextmanager
async def api_of(process: CloudProcess) -> AsyncIterator[RunningCloud]:
    token = (process.folder / "bootstrap").read_text().strip()
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=process.socket),
        base_url="http://127.0.0.1",
        headers={"authorization": f"Bearer {token}"},
    ) as api:
        yield RunningCloud(f"unix:{process.socket}", token, process.token(), api)


@contextmanager
def full(process: CloudProcess) -> Iterator[None]:
    """Not a byte is left on the disk of the data directory."""
    ballast = Path(f"/proc/{process.pid}/root{process.folder}/data/ballast")
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    yield
    ballast.unlink()


@contextmanager
def unwritable(process: CloudProcess) -> Iterator[None]:
    """Every write to a file fails, as on a disk that the kernel has made read-only."""
    _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, most))
    yield
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.parametrize("broken", [full, unwritable])
async def test_f16_a_disk_that_takes_no_more_stops_changes_only(
    tmp_path: Path, broken: Callable[[CloudProcess], Iterator[None]]
) -> None:
    folder = tmp_path / "cloud"
    through = on_disk(ON_A_SMALL_DISK, folder)
    async with recording_app(answer_every_request) as web:
        with cloud_process(folder, through=through) as process:
            async with api_of(process) as cloud:
                wish = {"name": "shop", "kind": "shared", "manifests": shop()}
                await cloud.ok("POST", "/environments", wish)
                host = await cloud.label_of("shop")
                manager = StandInManager({"web": web})
                with broken(process):
                    # That it comes for the first time cannot be noted; it is told all the same.
                    async with connected(cloud, "manager", cloud.cluster_token, manager):
                        async with asyncio.timeout(10):
                            while "shop" not in manager.held:
                                await manager.heard.get()
                        assert await status(cloud, host) == 200
                        await refuses_changes(cloud)
                        assert await status(cloud, host) == 200
                await cloud.ok("POST", "/environments", {**wish, "name": "next"})
                listed = (await cloud.ok("GET", "/environments"))["environments"]
                assert {each["name"] for each in listed} == {"shop", "next"}
            data = Path(f"/proc/{process.pid}/root{folder}/data")
            database = {"lapdev.db", "lapdev.db-shm", "lapdev.db-wal"}
            files = {path.name for path in data.iterdir()}
            assert files == {*database, "token-key", "handover.sock"}, "and no drafts"
            assert process.stop() == 0
        log = (folder / "log").read_text()
    if broken is full:  # in the other case the log is a file that cannot be written
        assert log.count('"event": "cluster_not_noted"') == 1
    assert "traceback" not in log.lower()
    assert '"level": "error"' not in log


async def refuses_changes(cloud: RunningCloud) -> None:
    """With a reason, and what to do."""
    wish = {"name": "another", "kind": "shared", "manifests": shop()}
    answer = await cloud.api.request("POST", "/api/v1/environments", json=wish)
    assert answer.status_code == 503, answer.text
    error = answer.json()["error"]
    assert error["cause"] == "store_error"
    assert "disk space" in error["hint"]
    assert (await cloud.ok("GET", "/environments/shop"))["name"] == "shop"


async def status(cloud: RunningCloud, host: str) -> int:
    answer = await cloud.api.get("/", headers={"host": host})
    return answer.status_code


def test_f16_a_cloud_that_cannot_write_at_all_says_so_and_ends(tmp_path: Path) -> None:
    folder = tmp_path / "cloud"
    with (
        pytest.raises(AssertionError, match="did not start"),
        cloud_process(folder, through=on_disk(ON_A_READ_ONLY_DISK, folder)),
    ):
        pass
    last = (folder / "log").read_text().splitlines()[-1]
    assert "Read-only file system" in last
    assert json.dumps(str(folder / "data"))[1:-1] in last
