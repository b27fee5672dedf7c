"""A pod of real processes, from its first to its end; without namespaces, which change nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from lapdev.cluster.manifests import ConfigObject
from lapdev.cluster.pod import Pod
from lapdev.cluster.pod_phase import PodPhase
from lapdev.model import ContainerState
from tests.cluster.contract import sidecar
from tests.support.one_pod import one_pod, python, sh, template, wanted

STAY = "exec sleep 1000"


def note(folder: Path, word: str) -> str:
    """A shell command that adds a line to the diary."""
    return f"echo {word} >> {folder}/diary"


def diary(folder: Path) -> list[str]:
    return (folder / "diary").read_text().split()


def native(name: str, script: str, **more: Any) -> dict[str, Any]:
    return sh(name, script, restartPolicy="Always", **more)


def pid_of(pod: Pod, name: str) -> int | None:
    return next(each.pid for each in pod.containers if each.name == name)


async def test_everything_starts_and_ends_in_its_order(tmp_path: Path) -> None:
    def noisy(name: str) -> str:
        told = note(tmp_path, f"{name}-ends")
        return f"trap '{told}; exit' TERM; {note(tmp_path, name)}; while :; do sleep 0.02; done"

    pod = template(
        sh("web", noisy("web")),
        initContainers=[
            sh("first", f"sleep 0.1; {note(tmp_path, 'first')}"),
            native("db", noisy("db"), startupProbe={
                "exec": {"command": ["grep", "-q", "db", str(tmp_path / "diary")]},
            }),
            native("proxy", noisy("proxy")),
            sh("migrate", f"sleep 0.1; {note(tmp_path, 'migrate')}"),
        ],
    )  # fmt: skip
    async with one_pod(tmp_path, wanted(pod)) as one:
        assert one.pod.phase is PodPhase.PENDING
        await one.until(lambda pod: pod.ready)
        assert one.pod.phase is PodPhase.RUNNING
        assert one.pod.restarts == 0
        assert len(one.pod.info().container_pids) == 3
        one.pod.request_stop()
        assert not one.pod.ready
        await one.ended()
    started, ended = diary(tmp_path)[:-3], diary(tmp_path)[-3:]
    assert started[:2] == ["first", "db"]
    assert started.index("migrate") < started.index("web")
    assert ended == ["web-ends", "proxy-ends", "db-ends"]
    assert not one.pod.place.folder.exists()


async def test_a_job_is_done_and_what_it_printed_stays(tmp_path: Path) -> None:
    pod = template(
        sh("job", "echo working; printf done"),
        initContainers=[native("proxy", STAY)],
        restartPolicy="OnFailure",
        volumes=[{"name": "scratch", "emptyDir": {}}],
    )
    async with one_pod(tmp_path, wanted(pod, sidecar=sidecar("web"))) as one:
        await one.ended()
        assert one.pod.phase is PodPhase.SUCCEEDED
        assert one.pod.finished_at is not None
        assert not one.pod.ready
        assert one.pod.last_exit == ""
        assert one.pod.info().container_pids == ()
        assert one.pod.info().sidecar_pid is None
        assert one.said("job") == ["working", "done"]
        assert [path.name for path in one.pod.place.folder.iterdir()] == ["logs"]
        assert not one.pod.can_update(one.pod.workload)
        one.pod.forget()
        one.pod.forget()
        assert not one.pod.place.folder.exists()
        assert one.said("job") == ["working", "done"]


async def test_a_job_that_may_not_be_tried_again_has_failed(tmp_path: Path) -> None:
    pod = template(sh("job", "echo no database; exit 3"), restartPolicy="Never")
    async with one_pod(tmp_path, wanted(pod)) as one:
        await one.ended()
        assert one.pod.phase is PodPhase.FAILED
        assert one.pod.why_not_ready() == "job: exit code 3: no database (not restarted)"
        assert one.pod.last_exit == "job: exit code 3: no database"
        assert one.pod.restarts == 0


async def test_a_failed_init_container_is_the_end_where_nothing_is_tried_again(
    tmp_path: Path,
) -> None:
    pod = template(sh("job", STAY), initContainers=[sh("seed", "exit 1")], restartPolicy="Never")
    async with one_pod(tmp_path, wanted(pod)) as one:
        await one.ended()
        assert one.pod.phase is PodPhase.FAILED
        assert one.pod.last_exit == "seed: exit code 1"


async def test_what_is_done_does_not_keep_others_from_being_ready(tmp_path: Path) -> None:
    pod = template(sh("once", "true", restartPolicy="OnFailure"), sh("web", STAY))
    async with one_pod(tmp_path, wanted(pod)) as one:
        await one.until(lambda pod: pod.ready and pod.containers[0].last_exit)
        assert one.pod.last_exit == ""
        assert one.pod.ready
        states = [(state.name, state.state) for state in one.pod.container_states()]
        assert states == [("once", ContainerState.DONE), ("web", ContainerState.READY)]
        assert one.pod.why_not_ready() == ""


async def test_what_failed_for_good_does(tmp_path: Path) -> None:
    pod = template(sh("once", "exit 9", restartPolicy="Never"), sh("web", STAY))
    async with one_pod(tmp_path, wanted(pod)) as one:
        await one.until(lambda pod: pod.containers[1].ready and pod.last_exit)
        assert not one.pod.ready
        assert one.pod.why_not_ready() == "once: exit code 9 (not restarted)"
        failed, _ = one.pod.container_states()
        assert (failed.state, failed.last_exit) == (ContainerState.FAILED, "exit code 9")


async def test_a_stop_during_the_start_does_not_wait_for_it(tmp_path: Path) -> None:
    pod = template(sh("web", STAY), initContainers=[sh("migrate", f"echo begun; {STAY}")],
                   terminationGracePeriodSeconds=600)  # fmt: skip
    async with one_pod(tmp_path, wanted(pod)) as one:
        await one.until(lambda pod: pid_of(pod, "migrate"))
        one.pod.request_stop()
        await one.ended()
    assert one.pod.phase is PodPhase.PENDING


async def test_a_pod_that_is_ending_can_be_hurried(tmp_path: Path) -> None:
    stubborn = "trap '' TERM; echo up; while :; do sleep 0.02; done"
    pod = template(sh("web", stubborn, readinessProbe={
        "exec": {"command": ["true"]}, "initialDelaySeconds": 0,
    }), terminationGracePeriodSeconds=600)  # fmt: skip
    async with one_pod(tmp_path, wanted(pod)) as one:
        await one.until(lambda pod: pod.ready)
        one.pod.request_stop()
        await asyncio.sleep(0)
        one.pod.request_stop(0.1)
        one.pod.request_stop(300)
        await one.ended()


async def test_a_pod_may_be_hurried_when_it_is_too_late(tmp_path: Path) -> None:
    stubborn = "trap '' TERM; while :; do sleep 0.02; done"
    pod = template(
        sh("web", stubborn),
        initContainers=[native("db", f"echo up; {stubborn}")],
        terminationGracePeriodSeconds=1,
    )
    async with one_pod(tmp_path, wanted(pod)) as one:
        await one.until(lambda pod: pod.ready)
        one.pod.request_stop(0.1)
        web = one.pod.containers[1]
        await one.until(lambda _: web.pid is None)
        one.pod.request_stop(0.05)
        await one.ended()


async def test_a_last_hook_runs_in_the_container_before_its_end(tmp_path: Path) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", note(tmp_path, "$WORD")]}}}
    pod = template(
        sh("web", f"trap '{note(tmp_path, 'told')}; exit' TERM; while :; do sleep 0.02; done",
           lifecycle=hook, env=[{"name": "WORD", "value": "hook"}])
    )  # fmt: skip
    async with one_pod(tmp_path, wanted(pod)) as one:
        await one.until(lambda pod: pod.ready)
        one.pod.request_stop()
        await one.ended()
    assert diary(tmp_path) == ["hook", "told"]


async def test_probes_run_as_long_as_their_container(tmp_path: Path) -> None:
    (tmp_path / "good").touch()
    good = {"exec": {"command": ["test", "-e", str(tmp_path / "good")]}}
    pod = template(
        sh("web", STAY, livenessProbe=good | {"periodSeconds": 1, "failureThreshold": 1})
    )
    async with one_pod(tmp_path, wanted(pod)) as one:
        await one.until(lambda pod: pod.ready)
        before = pid_of(one.pod, "web")
        (tmp_path / "good").unlink()
        await one.until(lambda pod: pod.restarts)
        (tmp_path / "good").touch()
        await one.until(lambda pod: pod.ready)
        assert one.pod.last_exit == "web: liveness probe failed: exit code 1"
        assert pid_of(one.pod, "web") not in (None, before)


SERVE = "import os, socket, time; s = socket.create_server((os.environ['POD_IP'], 8123)); "


async def test_two_that_want_one_port_are_both_named(tmp_path: Path) -> None:
    pod = template(
        python("web", SERVE + "time.sleep(1000)", readinessProbe={"tcpSocket": {"port": 8123}}),
        # It wants the port only when the other has it.
        python("worker", "import os; os.read(os.open(os.environ['GATE'], os.O_RDONLY), 1);" + SERVE,
               env=[{"name": "GATE", "value": str(tmp_path / "gate")}]),
    )  # fmt: skip
    os.mkfifo(tmp_path / "gate")
    async with one_pod(tmp_path, wanted(pod)) as one:
        await one.until(lambda pod: pod.containers[0].ready and pid_of(pod, "worker"))
        os.close(os.open(tmp_path / "gate", os.O_WRONLY))
        await one.until(lambda pod: "port" in pod.why_not_ready())
        assert (
            "port 8123 is taken by container web of the same pod (containers share localhost)"
            in one.pod.why_not_ready()
        )
        assert one.pod.why_not_ready().startswith("worker: ")


async def test_a_changed_container_is_replaced_in_its_pod(tmp_path: Path) -> None:
    def spec(word: str) -> dict[str, Any]:
        return template(sh("web", f"echo {word}; {STAY}"), sh("db", STAY))

    async with one_pod(tmp_path, wanted(spec("one"))) as one:
        await one.until(lambda pod: pod.ready)
        db, web = pid_of(one.pod, "db"), pid_of(one.pod, "web")
        heard: list[str] = []
        one.pod.containers[0].output.follow(lambda _, text: heard.append(text))
        changed = wanted(spec("two"))
        assert one.pod.can_update(changed)
        one.pod.update(changed)
        assert one.pod.digest == changed.digest
        assert not one.pod.ready
        await one.until(lambda pod: pod.ready)
        assert pid_of(one.pod, "db") == db
        assert pid_of(one.pod, "web") not in (None, web)
        assert one.said("web") == ["one", "two"]
        assert heard == ["two"]
        assert one.pod.restarts == 0, "a change is no restart"
        assert one.pod.last_exit == ""


async def test_a_container_is_added_and_another_removed(tmp_path: Path) -> None:
    async with one_pod(tmp_path, wanted(template(sh("web", STAY), sh("old", STAY)))) as one:
        await one.until(lambda pod: pod.ready)
        web, old = pid_of(one.pod, "web"), pid_of(one.pod, "old")
        assert old
        one.pod.update(wanted(template(sh("web", STAY), sh("new", f"echo hello; {STAY}"))))
        assert [each.name for each in one.pod.containers] == ["web", "new"]
        await one.until(lambda pod: pod.ready)
        assert pid_of(one.pod, "web") == web
        assert one.said("new") == ["hello"]
        assert not Path(f"/proc/{old}").exists()


async def test_a_change_of_config_reaches_files_and_variables(tmp_path: Path) -> None:
    pod = template(
        sh("web", f"cat $LAPDEV_VOLUME_APP/COLOR; echo \" $COLOR\"; {STAY}",
           envFrom=[{"configMapRef": {"name": "app"}}],
           volumeMounts=[{"name": "app", "mountPath": "/etc/app"}]),
        volumes=[{"name": "app", "configMap": {"name": "app"}}],
    )  # fmt: skip
    blue = ConfigObject("ConfigMap", "app", {"COLOR": b"blue"})
    red = ConfigObject("ConfigMap", "app", {"COLOR": b"red"})
    async with one_pod(tmp_path, wanted(pod, blue), blue) as one:
        await one.until(lambda pod: pod.ready)
        assert one.said("web") == ["blue blue"]
        one.configs[("ConfigMap", "app")] = red
        one.pod.update(wanted(pod, red))
        await one.until(lambda pod: pod.ready)
        assert one.said("web") == ["blue blue", "red red"]


async def test_what_is_missing_is_named_and_waited_for(tmp_path: Path) -> None:
    pod = template(sh("web", STAY, envFrom=[{"configMapRef": {"name": "app"}}]))
    config = ConfigObject("ConfigMap", "app", {})
    async with one_pod(tmp_path, wanted(pod, config)) as one:
        await one.until(lambda pod: "app" in pod.why_not_ready())
        one.configs[("ConfigMap", "app")] = config
        await one.until(lambda pod: pod.ready)
        assert one.pod.why_not_ready() == ""


async def test_a_lost_sandbox_begins_again_but_what_is_done_is_done(tmp_path: Path) -> None:
    pod = template(
        sh("once", note(tmp_path, "once")),
        sh("stays", STAY),
        initContainers=[sh("seed", note(tmp_path, "seed"))],
        restartPolicy="OnFailure",
    )
    async with one_pod(tmp_path, wanted(pod)) as one:
        await one.until(lambda pod: pod.ready and pod.containers[1].final)
        assert one.pod._sandbox is not None
        await one.pod._sandbox.kill()
        await one.until(lambda pod: not pod.ready)
        await one.until(lambda pod: pod.ready)
        assert one.pod.restarts >= 1
        assert diary(tmp_path) == ["seed", "once", "seed"]


async def test_what_may_not_be_tried_again_is_lost_with_its_sandbox(tmp_path: Path) -> None:
    async with one_pod(tmp_path, wanted(template(sh("job", STAY), restartPolicy="Never"))) as one:
        await one.until(lambda pod: pod.phase is PodPhase.RUNNING)
        assert one.pod._sandbox is not None
        await one.pod._sandbox.kill()
        await one.ended()
        assert one.pod.phase is PodPhase.FAILED
        assert "holder" in one.pod.why_not_ready()


async def test_a_killed_process_is_named_by_its_signal(tmp_path: Path) -> None:
    async with one_pod(tmp_path, wanted(template(sh("web", f"echo serving; {STAY}")))) as one:
        await one.until(lambda pod: pod.ready)
        pid = pid_of(one.pod, "web")
        assert pid
        os.kill(pid, signal.SIGSEGV)
        await one.until(lambda pod: pod.restarts)
        assert one.pod.last_exit == "web: ended by SIGSEGV: serving"


async def test_subpaths_are_there_without_mounts(tmp_path: Path) -> None:
    mounts = [
        {"name": "data", "mountPath": "/data", "subPath": "db/files"},
        {"name": "app", "mountPath": "/etc/app.conf", "subPath": "app.conf"},
    ]
    script = f"touch $LAPDEV_VOLUME_DATA/x && cat $LAPDEV_VOLUME_APP; {STAY}"
    pod = template(
        sh("web", script, volumeMounts=mounts),
        volumes=[
            {"name": "data", "emptyDir": {}},
            {"name": "app", "configMap": {"name": "app"}},
        ],
    )
    config = ConfigObject("ConfigMap", "app", {"app.conf": b"made\n"})
    async with one_pod(tmp_path, wanted(pod, config), config) as one:
        await one.until(lambda pod: pod.ready)
        assert one.said("web") == ["made"]
