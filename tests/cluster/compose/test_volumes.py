"""The pod's volumes, and the claims, ConfigMaps and Secrets behind them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from lapdev.errors import ConfigError
from tests.cluster.compose.projects import (
    FOLDER,
    accepted,
    container,
    of_kind,
    one,
    pod_spec,
    project,
)


def volumes(text: str, **given: Any) -> dict[str, Any]:
    found = project(text, **given)
    accepted(found)
    return {volume.pop("name"): volume for volume in pod_spec(found)["volumes"]}


def test_each_folder_and_volume_is_one_volume_of_the_pod() -> None:
    found = volumes(
        """
        services:
          a: {command: x, volumes: ["./src:/app:ro", "data:/data", "/anon"], tmpfs: /run}
          b: {command: x, volumes: ["./src:/code", "data:/var/data", "./other/src:/x", "/:/host"]}
        volumes: {data: }
        """,
        files={"src/x": ""},
    )
    assert found == {
        "src": {"hostPath": {"path": f"{FOLDER}/src"}},
        "src-2": {"hostPath": {"path": f"{FOLDER}/other/src", "type": "DirectoryOrCreate"}},
        "data": {"persistentVolumeClaim": {"claimName": "data"}},
        "a-anon": {"emptyDir": {}},
        "a-run": {"emptyDir": {"medium": "Memory"}},
        "root": {"hostPath": {"path": "/", "type": "DirectoryOrCreate"}},
    }


def test_named_volumes_that_are_something_else() -> None:
    found = project(
        """
        services: {a: {command: x, volumes: ["bound:/b", "fast:/f", "far:/n", "My_Data:/d"]}}
        volumes:
          bound: {driver_opts: {type: none, o: bind, device: ./here}}
          fast: {driver_opts: {type: tmpfs, device: tmpfs}}
          far: {driver: nfs, external: true, name: elsewhere}
          My_Data: {}
        """
    )
    accepted(found)
    sources = {volume["name"]: volume for volume in pod_spec(found)["volumes"]}
    assert sources["here"]["hostPath"]["path"] == f"{FOLDER}/here"
    assert sources["fast"]["emptyDir"] == {"medium": "Memory"}
    claims = [item["metadata"]["name"] for item in of_kind(found, "PersistentVolumeClaim")]
    assert claims == ["elsewhere", "my-data"]
    assert any("volumes.far: its driver is ignored" in note for note in found.notes)


def test_inner_folders_are_mounted_after_outer_ones() -> None:
    found = project(
        "services: {a: {command: x, volumes: ['./b:/app/data/x', './c:/app', 'd:/app/data']}}\n"
        "volumes: {d: }"
    )
    paths = [mount["mountPath"] for mount in container(found, "a")["volumeMounts"]]
    assert paths == ["/app", "/app/data", "/app/data/x"]


def test_configs_and_secrets_become_files() -> None:
    found = project(
        """
        services:
          a: {command: x, configs: [one, {source: two, target: /etc/two}], secrets: [key, file]}
          b: {command: x, secrets: [{source: key, mode: 0400}]}
        configs:
          one: {content: "level=${LEVEL}"}
          two: {file: two.bin}
        secrets:
          key: {environment: API_KEY}
          file: {file: ./secret.txt}
          unused: {external: true}
        """,
        files={"two.bin": b"\xff\x00", "secret.txt": "hidden"},
        environ={"LEVEL": "debug", "API_KEY": "k"},
    )
    configs = accepted(found).configs_by_name()
    assert configs["ConfigMap", "one"].data == {"content": b"level=debug"}
    assert configs["ConfigMap", "two"].data == {"content": b"\xff\x00"}
    assert configs["Secret", "key"].data == {"content": b"k"}
    assert configs["Secret", "file"].data == {"content": b"hidden"}
    paths = [mount["mountPath"] for mount in container(found, "a")["volumeMounts"]]
    assert paths == ["/etc/two", "/one", "/run/secrets/file", "/run/secrets/key"]
    assert one(found, "Secret", "key")["data"]["content"] == base64.b64encode(b"k").decode()
    modes = [v["secret"].get("defaultMode") for v in pod_spec(found)["volumes"] if "secret" in v]
    assert modes == [None, None, 0o400]
    assert set(found.files) == {f"{FOLDER}/two.bin", f"{FOLDER}/secret.txt"}


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("{}", "its content is elsewhere"),
        ("{external: true}", "is external, and variable s is not set"),
        ("{external: true, name: KEY}", "is external, and variable KEY is not set"),
        ("{file: a, content: b}", "has file and content"),
        ("{file: gone}", "there is no file"),
        ("{environment: NO}", "variable NO is not set"),
        ("{fil: a}", "no such key"),
        ("5", "is a number"),
    ],
)
def test_a_secret_without_content_is_refused(secret: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        project(f"services: {{a: {{command: x, secrets: [s]}}}}\nsecrets: {{s: {secret}}}")
    assert caught.value.detail.startswith("compose.yaml:2: secrets.s")
    assert caught.value.hint


def test_an_external_secret_comes_from_the_environment() -> None:
    found = project(
        "services: {a: {command: x, secrets: [pg]}}\n"
        "secrets: {pg: {external: true, name: PG_PASSWORD}}",
        environ={"PG_PASSWORD": "hidden"},
    )
    assert accepted(found).configs_by_name()["Secret", "pg"].data == {"content": b"hidden"}


def test_two_volumes_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="are both called my-data here"):
        project(
            "services: {a: {command: x, volumes: ['my_data:/a', 'my-data:/b']}}\n"
            "volumes: {my_data: , my-data: }"
        )
