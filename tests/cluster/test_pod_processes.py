"""What a pod's processes are made from, before any runs."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.manifests import ConfigObject
from lapdev.cluster.pod_processes import PodProcesses, Surroundings
from lapdev.errors import ConfigError
from lapdev.net.tasks import Tasks
from tests.cluster.contract import sidecar
from tests.cluster.test_programs import PLACE, options
from tests.support.fake_driver import FakeCredentials
from tests.support.one_pod import sh, template, wanted
from tests.support.standin_sandbox import StandInSandbox

CONFIG = ConfigObject("ConfigMap", "app", {"COLOR": b"blue"})
VOLUME = {"name": "app", "configMap": {"name": "app"}}
MOUNTING = sh("web", "x", volumeMounts=[{"name": "app", "mountPath": "/etc/app"}])


def processes(folder: Path, pod: dict[str, Any], *configs: ConfigObject) -> PodProcesses:
    around = Surroundings(
        options=dataclasses.replace(options(), volumes_dir=folder / "claims"),
        credentials=FakeCredentials(),
        make_sandbox=lambda _: StandInSandbox(),
        service_environment=dict,
        configs=lambda: {(each.kind, each.name): each for each in configs},
        on_change=lambda: None,
    )
    workload = wanted(pod, CONFIG, sidecar=sidecar("web"))
    return PodProcesses(workload, dataclasses.replace(PLACE, folder=folder / "pod"), around)


async def test_what_does_not_differ_is_the_same_after_an_update(tmp_path: Path) -> None:
    made = processes(tmp_path, template(sh("web", "x"), sh("db", "x"), sh("old", "x")))
    web, db, _ = [member.process for member in made.lineup]
    changed = template(sh("new", "x"), sh("web", "y"), sh("db", "x"))
    made.update(wanted(changed, sidecar=sidecar("web")))
    new = {member.process.name: member.process for member in made.lineup}
    assert [*new] == ["new", "web", "db"]
    assert new["db"] is db
    assert new["web"] is not web
    assert new["web"].output is web.output, "whoever reads goes on reading"


async def test_volumes_are_made_again_with_the_content_of_now(tmp_path: Path) -> None:
    made = processes(tmp_path, template(MOUNTING, volumes=[VOLUME]), CONFIG)
    await made.prepare()
    (color,) = (tmp_path / "pod" / "volumes").rglob("COLOR")
    assert color.read_text() == "blue"
    await made.prepare()
    await made.aclose(keep_logs=False)
    assert not (tmp_path / "pod").exists()


async def test_claims_stay_when_their_pod_goes(tmp_path: Path) -> None:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "disk"}}
    made = processes(tmp_path, template(sh("web", "x"), volumes=[volume]))
    await made.prepare()
    await made.aclose(keep_logs=False)
    assert (tmp_path / "claims" / "shop" / "disk").is_dir()


async def test_a_volume_that_refers_to_nothing_is_named(tmp_path: Path) -> None:
    made = processes(tmp_path, template(MOUNTING, volumes=[VOLUME]))
    with pytest.raises(ConfigError, match="app"):
        await made.prepare()
    await made.aclose(keep_logs=False)


async def test_nothing_is_left_of_a_pod_that_ended_while_its_volumes_were_made(
    tmp_path: Path,
) -> None:
    made = processes(tmp_path, template(MOUNTING, volumes=[VOLUME]), CONFIG)
    async with Tasks() as tasks:
        tasks.spawn(made.prepare(), "prepare")
        await asyncio.sleep(0)
    await made.aclose(keep_logs=False)
    assert not (tmp_path / "pod").exists()


async def test_logs_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    made = processes(tmp_path, template(MOUNTING, volumes=[VOLUME]), CONFIG)
    made.open()
    made.open()
    await made.prepare()
    (tmp_path / "pod" / "hosts").touch()
    await made.aclose(keep_logs=True)
    assert [path.name for path in (tmp_path / "pod").iterdir()] == ["logs"]
    assert {path.name for path in (tmp_path / "pod" / "logs").iterdir()} == {
        "web.log",
        "lapdev-sidecar.log",
    }


async def test_ports_are_held_by_name(tmp_path: Path) -> None:
    made = processes(tmp_path, template(sh("web", "x"), sh("db", "x"), sh("idle", "x")))
    made.open()
    sandbox = StandInSandbox()
    async with Tasks() as tasks:
        for process in made.all:
            tasks.spawn(process.run(sandbox), process.name)
        await sandbox.changed.until(lambda: all(each.pid for each in made.all))
        pids = {each.name: each.pid or 0 for each in made.all}
        sandbox.owners = {
            15001: frozenset({pids["lapdev-sidecar"]}),
            80: frozenset({pids["web"], 4711}),
            81: frozenset({pids["web"]}),
            5432: frozenset({pids["db"]}),
            9999: frozenset(),
        }
        assert made._held_ports(sandbox, "db") == {
            "lapdev's own sidecar": {15001},
            "container web": {80, 81},
            "container idle": set(),
        }
        await sandbox.kill()
    await made.aclose(keep_logs=False)
