"""Whatever is killed, whenever: the environment comes back by itself, and `down` leaves nothing."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from lapdev.cluster.pause import HOLDER_NAME
from tests.support import needs
from tests.support.server_process import ServerProcess, named, server_process
from tests.support.shop_processes import application

SEED = int(os.environ.get("LAPDEV_SEED", "20261122"))
POINTS = int(os.environ.get("LAPDEV_FAULT_POINTS", "30"))
"""How many processes are killed, one after the other."""
LONGEST_PAUSE = 0.8
"""Between two kills: some hit a system that has not come back from the last."""


def victims(server: ServerProcess, kind: str) -> list[int]:
    if kind == "container":
        return [pid for pid, line in server.processes().items() if "service.py" in line]
    if kind in ("holder", "reaper"):
        both = [pid for pid, line in server.processes().items() if "pause.py reaper" in line]
        return [pid for pid in both if (named(pid) == HOLDER_NAME) == (kind == "holder")]
    return server.of_role(kind)


def serves(server: ServerProcess, url: str) -> bool:
    answer = server.get(url)
    return answer.status == 200 and '"name": "api"' in answer.body


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_it_converges_after_kills_at_seeded_points_and_leaves_nothing() -> None:
    needs.userns()
    chance = random.Random(SEED)
    kinds = ["manager", "cloud", "sidecar", "container", "holder", "reaper"]
    with server_process() as server:
        server.api("POST", "/environments", {"name": "shop", "kind": "shared", **application()})
        url = server.wait_ready("shop")["previews"][0]["url"]
        server.wait(lambda: serves(server, url), "the preview answers")
        for point in range(POINTS):
            kind = kinds[point % len(kinds)] if point < len(kinds) else chance.choice(kinds)
            found = sorted(victims(server, kind))
            for victim in found if kind == "sidecar" else found[:1] and [chance.choice(found)]:
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # it was on its way out already
            if chance.random() < 0.5:
                time.sleep(chance.random() * LONGEST_PAUSE)
                continue
            server.wait(lambda: serves(server, url), f"point {point}: the preview after {kind}")
        server.wait_ready("shop")
        server.wait(lambda: serves(server, url), "the preview answers at the end")

        for pid in server.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        assert server.process is not None
        server.process.wait()
        server.wait(lambda: not server.processes(), "all of it is dead")
        server.start()
        server.wait_ready("shop")
        server.wait(lambda: serves(server, url), "the preview answers after a start")
        assert server.of_role("sidecar")

        server.api("DELETE", "/environments/shop")
        assert not victims(server, "container")
        assert server.stop() == 0
        left = server.left()
        assert not any(left.values()), left
