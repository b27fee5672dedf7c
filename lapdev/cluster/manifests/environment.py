"""What a container's environment is, once its pod has a name and an address.

Implements Kubernetes' order of sources, the downward API, and `$(VAR)` expansion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lapdev.cluster.manifests.config import ConfigObject, Configs, Reference, find_config
from lapdev.cluster.manifests.container import Container, EnvFrom, EnvVar
from lapdev.cluster.manifests.resources import resource_value
from lapdev.errors import ConfigError

# "$$" is an escaped "$", whatever follows; a "$" before anything else stands for itself.
_REFERENCE = re.compile(r"\$(?:\$|\((?P<name>[^()]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(?P<map>labels|annotations)\['(?P<key>[^']+)'\]")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the downward API may tell a container about its pod."""

    name: str
    namespace: str
    ip: str
    host_ip: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    machine_cpu: float = 1.0
    """Cores, for limits that are not set."""
    machine_memory: int = 2**30
    """Bytes, for limits that are not set."""

    def field(self, path: str) -> str | None:
        """The value at a fieldRef's path; None when there is no such field."""
        match = _SUBSCRIPT.fullmatch(path)
        if match:
            values = self.labels if match["map"] == "labels" else self.annotations
            return values.get(match["key"], "")
        return {
            "metadata.name": self.name,
            "metadata.namespace": self.namespace,
            "metadata.uid": f"{self.namespace}/{self.name}",
            "status.podIP": self.ip,
            "status.podIPs": self.ip,
            "status.hostIP": self.host_ip,
            "status.hostIPs": self.host_ip,
            "spec.nodeName": "local",
            "spec.serviceAccountName": "default",
        }.get(path)


def known_field(path: str, *, in_files: bool = False) -> bool:
    """There is such a field. A file may hold all labels or annotations, a variable one."""
    whole = in_files and path in ("metadata.labels", "metadata.annotations")
    return whole or PodFacts("", "", "").field(path) is not None


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` becomes its value, `$$` becomes `$`; an unknown name stays as written."""

    def value(match: re.Match[str]) -> str:
        name = match["name"]
        return "$" if name is None else env.get(name, match[0])

    return _REFERENCE.sub(value, text)


def pod_env(
    container: Container, facts: PodFacts, services: Mapping[str, str], configs: Configs
) -> dict[str, str]:
    """The container's environment: services, `envFrom`, its own; each sees those before it.

    Raises:
        ConfigError: it refers to a ConfigMap, Secret, key or field that is not there; names it.
    """
    env = dict(services)
    for source in container.env_from:
        env.update(_entries(container, source, configs))
    for variable in container.env:
        value = _value(container, variable, facts, env, configs)
        if value is not None:
            env[variable.name] = value
    return env


def _entries(container: Container, source: EnvFrom, configs: Configs) -> Iterator[tuple[str, str]]:
    """Every entry whose key makes a variable's name, and no binary data of a ConfigMap.

    Kubernetes leaves the others out, too.
    """
    where = f"{container.where}: envFrom"
    found = find_config(Reference(where, source.kind, source.name, (), source.optional), configs)
    if found is None:
        return
    for key, value in found.data.items():
        name = source.prefix + key
        if _VARIABLE.fullmatch(name) and (found.kind == "Secret" or _text(value) is not None):
            yield name, _decoded(found, key, where)


def _value(
    container: Container,
    variable: EnvVar,
    facts: PodFacts,
    env: Mapping[str, str],
    configs: Configs,
) -> str | None:
    """None: it is made from something optional that is not there, and is left out."""
    where = f"{container.where}: {variable.name}"
    if variable.key:
        key = variable.key
        reference = Reference(where, key.kind, key.name, (key.key,), key.optional)
        found = find_config(reference, configs)
        return _decoded(found, key.key, where) if found and key.key in found.data else None
    if variable.resource:
        return resource_value(variable.resource, facts.machine_cpu, facts.machine_memory)
    if not variable.field_path:
        return expand(variable.value, env)
    return facts.field(variable.field_path)


def _decoded(found: ConfigObject, key: str, where: str) -> str:
    text = _text(found.data[key])
    if text is None:
        raise ConfigError(
            f"{where}: {found.kind}/{found.name} key {key!r} is not text, and no variable's value",
            hint="mount it as a file",
        )
    return text


def _text(value: bytes) -> str | None:
    """None when a variable cannot hold it."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
