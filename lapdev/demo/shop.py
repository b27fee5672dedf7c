"""The demo's shop: its manifests, its branches, and what each preview has to answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

BASE = "shop"
SERVICES = ("web", "api", "search", "redis")

Versions = dict[str, str]

_SERVICE_URL = re.compile(rf"//({'|'.join(SERVICES)}):")


@dataclass(frozen=True, slots=True)
class BranchEdit:
    """One branch and the one workload it changes."""

    name: str
    workload: str
    env: dict[str, str]


def folder() -> Path:
    """Where the demo's data is. The programs run as processes, so it has to be a real folder."""
    return Path(str(resources.files("lapdev.demo")))


def manifests(links_file: Path, *, names_resolve: bool = True) -> list[dict[str, Any]]:
    """The shop's Kubernetes objects, told where its programs are on this machine.

    Pods without namespaces of their own have no hosts file, so no service resolves by its name:
    they get the addresses from the variables that Kubernetes sets for every service.
    """
    text = (folder() / "manifests.yaml").read_text(encoding="utf-8")
    objects = [item for item in yaml.safe_load_all(text) if item]
    places = {"SHOP_APPS": str(folder() / "apps"), "SHOP_LINKS": str(links_file)}
    for item in objects:
        if item["kind"] == "Deployment":
            for container in item["spec"]["template"]["spec"]["containers"]:
                for variable in container["env"]:
                    value = places.get(variable["name"], variable["value"])
                    variable["value"] = value if names_resolve else _by_address(value)
    return objects


def _by_address(value: str) -> str:
    return _SERVICE_URL.sub(lambda match: f"//$({match[1].upper()}_SERVICE_HOST):", value)


def branches() -> list[BranchEdit]:
    """The demo's branches, in the order of the file."""
    found = yaml.safe_load((folder() / "branches.yaml").read_text(encoding="utf-8"))
    return [BranchEdit(name, edit["workload"], edit["env"]) for name, edit in found.items()]


def expected() -> dict[str, Versions]:
    """Preview name → the version each service answers with there (Redis has its own numbers)."""
    base = dict.fromkeys(SERVICES[:-1], "v1")
    changed = {edit.name: base | {edit.workload: edit.env["VERSION"]} for edit in branches()}
    return {BASE: base, **changed}


def versions_in(hops: object) -> Versions:
    """Service → version from an answer of /hops.json, less Redis; empty when it is none."""
    if not isinstance(hops, list):
        return {}
    named = {str(hop.get("service")): str(hop.get("version")) for hop in hops}
    return {name: named.get(name, "") for name in SERVICES[:-1]}


def problem_with(hops: object, wanted: Versions) -> str:
    """What is wrong with an answer of /hops.json; empty when nothing is."""
    if not isinstance(hops, list):
        return "not a list of hops"
    failed = [f"{hop.get('service')}: {hop['error']}" for hop in hops if hop.get("error")]
    if failed:
        return "; ".join(failed)
    got = versions_in(hops)
    return "" if got == wanted else f"got {_show(got)}, not {_show(wanted)}"


def _show(versions: Versions) -> str:
    return " ".join(f"{name}={version or '?'}" for name, version in versions.items())
