"""What a running sidecar has imported: it stands in every pod, so every package is a decision."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from tests.sidecar.test_app import document, first_answer
from tests.support.raw import answer_every_request, recording_app
from tests.support.sidecar_process import sidecar_process

_PRELOADING = """
import importlib, json, sys
import lapdev.__main__
from lapdev.sidecar import fork_server

for name in fork_server.PRELOADED:
    importlib.import_module(name)
print(json.dumps([*sys.modules]))
"""

ALLOWED = {"msgpack", "structlog", "uvloop", "websockets"}

_REPORTING = """
import atexit, json, sys

def report():
    found = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        if "site-packages" in path and not name.startswith("_"):  # what a venv itself brings
            found.setdefault(name.partition(".")[0], path)
    rooms = sorted({name.split(".")[1] for name in sys.modules if name.startswith("lapdev.")})
    with open(OUT, "w") as sink:
        json.dump({"packages": sorted(found), "rooms": rooms, "modules": [*sys.modules]}, sink)

atexit.register(report)
from lapdev.__main__ import main
sys.exit(main())
"""


@pytest.mark.slow
async def test_a_running_sidecar_has_imported_four_packages_and_no_more(tmp_path: Path) -> None:
    report = tmp_path / "modules.json"
    program = (sys.executable, "-c", _REPORTING.replace("OUT", repr(str(report))))
    async with recording_app(answer_every_request) as app:
        where = document(app.port, tmp_path)
        async with sidecar_process(where, program) as process:
            assert await first_answer(where)
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), 10)
            assert process.returncode == 0
    found = json.loads(report.read_text())
    assert set(found["packages"]) - {"lapdev"} == ALLOWED
    # Of the cluster it needs its launch document, and nothing that reads manifests or runs pods.
    of_cluster = {name for name in found["modules"] if name.startswith("lapdev.cluster.")}
    assert of_cluster == {"lapdev.cluster.driver"}
    # What each copy of the fork server imports for itself, each of them holds for itself.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PRELOADING, stdout=asyncio.subprocess.PIPE
    )
    preloaded, _ = await process.communicate()
    assert set(found["modules"]) <= set(json.loads(preloaded))
    assert not {"cloud", "manager", "devbox", "store", "client", "cli"} & set(found["rooms"])
