"""Compose projects out of texts, with files that are there in memory only."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from textwrap import dedent
from typing import Any

from lapdev.cluster.compose import Conversion, Source, convert
from lapdev.cluster.manifests import Container, Manifests, check_references, parse_objects
from lapdev.errors import ConfigError

FOLDER = "/home/you/shop"


class MemoryFiles:
    """Files by absolute path; folders are there when something is in them."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self._files = {posixpath.join(FOLDER, path): text for path, text in files.items()}

    def read_bytes(self, path: str) -> bytes:
        if path not in self._files:
            raise ConfigError(f"{path}: No such file", hint="check the name")
        content = self._files[path]
        return content.encode() if isinstance(content, str) else content

    def read_text(self, path: str) -> str:
        return self.read_bytes(path).decode()

    def exists(self, path: str) -> bool:
        return any(f"{known}/".startswith(f"{path}/") for known in self._files)

    def resolve(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(FOLDER, path.replace("~", "/home/you", 1)))


def project(
    *texts: str,
    files: Mapping[str, str | bytes] | None = None,
    environ: Mapping[str, str] | None = None,
    profiles: Sequence[str] = (),
) -> Conversion:
    """What the Compose files, written as indented texts, are converted to."""
    names = ("compose.yaml", "compose.override.yaml", "compose.third.yaml")
    sources = [
        Source(dedent(text), name, f"{FOLDER}/{name}")
        for text, name in zip(texts, names, strict=False)
    ]
    return convert(sources, MemoryFiles(files or {}), environ or {}, profiles)


def service(text: str, **given: Any) -> dict[str, Any]:
    """The container of the service `web`, of which `text` is the body."""
    return container(project("services:\n  web:\n" + indented(text, 4), **given), "web")


def indented(text: str, columns: int) -> str:
    lines = dedent(text).strip("\n").split("\n")
    return "".join(f"{' ' * columns}{line}\n" for line in lines)


def accepted(conversion: Conversion) -> Manifests:
    """The objects as the cluster reads them, references checked, after a trip as JSON."""
    manifests = parse_objects(json.loads(json.dumps(conversion.objects)))
    check_references(manifests)
    return manifests


def pod_spec(conversion: Conversion) -> dict[str, Any]:
    found: dict[str, Any] = one(conversion, "Deployment")["spec"]["template"]["spec"]
    return found


def container(conversion: Conversion, name: str) -> dict[str, Any]:
    spec = pod_spec(conversion)
    both: list[dict[str, Any]] = [*spec.get("initContainers", []), *spec["containers"]]
    (found,) = [item for item in both if item["name"] == name]
    return found


def parsed_container(conversion: Conversion, name: str) -> Container:
    (workload,) = accepted(conversion).workloads
    (found,) = [c for c in workload.pod.all_containers() if c.name == name]
    return found


def env_of(found: Mapping[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in found.get("env", [])}


def of_kind(conversion: Conversion, kind: str) -> list[dict[str, Any]]:
    return [item for item in conversion.objects if item["kind"] == kind]


def one(conversion: Conversion, kind: str, name: str = "") -> dict[str, Any]:
    (found,) = [
        item for item in of_kind(conversion, kind) if name in ("", item["metadata"]["name"])
    ]
    return found


def hosts(conversion: Conversion) -> dict[str, dict[str, tuple[str, int]]]:
    """Preview host → path → (service, port)."""
    return {
        host.name: {route.path: (route.service, route.port) for route in host.routes}
        for host in accepted(conversion).ingresses
    }
