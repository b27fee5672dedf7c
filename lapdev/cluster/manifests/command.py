"""What a container runs and with which environment, once its pod has a name and an address.

Implements Kubernetes' dependent environment variables and `$(VAR)` expansion.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from lapdev.cluster.manifests.config import Configs
from lapdev.cluster.manifests.container import Container
from lapdev.cluster.manifests.workload import Workload
from lapdev.errors import ConfigError

COMMAND_ANNOTATION = "local.lapdev.dev/command"
PYTHON_ANNOTATION = "local.lapdev.dev/python"

# "$$" is an escaped "$", whatever follows; a "$" before anything else stands for itself.
_REFERENCE = re.compile(r"\$(?:\$|\((?P<name>[^()]*)\))")
_BRACED = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}")
_SUBSCRIPT = re.compile(r"metadata\.(?P<map>labels|annotations)\['(?P<key>[^']+)'\]")


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the downward API may tell a container about its pod."""

    name: str
    namespace: str
    ip: str
    host_ip: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

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
            "spec.nodeName": "local",
            "spec.serviceAccountName": "default",
        }.get(path)


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
        ConfigError: a fieldRef names a field that pods do not have.
    """
    env = dict(services)
    for variable in container.env:
        if not variable.field_path:
            env[variable.name] = expand(variable.value, env)
            continue
        value = facts.field(variable.field_path)
        if value is None:
            raise ConfigError(
                f"{container.where}: {variable.name} refers to field {variable.field_path!r},"
                " which is not supported",
                hint="use metadata.name, metadata.namespace, status.podIP or status.hostIP",
            )
        env[variable.name] = value
    return env


def local_command(
    workload: Workload,
    container: Container,
    env: Mapping[str, str] | None = None,
    python: str = "",
) -> list[str]:
    """The words that start this container as a process on this machine, never empty.

    With `env`, references are expanded. With `python`, a leading `python3` becomes that
    interpreter where the pod asks for it.

    Raises:
        ConfigError: there is neither an annotation nor a command; says what to add.
    """
    annotated = _annotated_words(workload, container)
    words = annotated or [*container.command, *container.args]
    # Arguments alone would be passed to an image's entry point, and no image is run here.
    if not annotated and not container.command:
        raise ConfigError(
            f"{container.where}: has no command to run on this machine",
            hint=f"set its command, or the annotation {COMMAND_ANNOTATION}.{container.name}"
            f" on {workload.name}'s pod template (images are not run by the local driver)",
        )
    if env is not None:
        words = [expand(word, env) for word in words]
        if annotated:
            words = [_BRACED.sub(lambda m: env.get(m["name"], m[0]), word) for word in words]
    if python and uses_own_python(workload) and words[0] in ("python3", "python"):
        words[0] = python
    return words


def uses_own_python(workload: Workload) -> bool:
    """The pod asks for the interpreter lapdev itself runs on."""
    return workload.pod.annotations.get(PYTHON_ANNOTATION) == "lapdev"


def _annotated_words(workload: Workload, container: Container) -> list[str]:
    name = f"{COMMAND_ANNOTATION}.{container.name}"
    text = workload.pod.annotations.get(name)
    if text is None and len(workload.pod.all_containers()) == 1:
        name = COMMAND_ANNOTATION
        text = workload.pod.annotations.get(name)
    if text is None:
        return []
    words = _split(text)
    if not words:
        raise ConfigError(
            f"{container.where}: annotation {name} is not a command: {text!r}",
            hint='write it as for a shell, or as a JSON list of strings: ["python3", "app.py"]',
        )
    return words


def _split(text: str) -> list[str]:
    """The words; empty when `text` has none or is malformed."""
    try:
        if not text.lstrip().startswith("["):
            return shlex.split(text)
        words = json.loads(text)
    except ValueError:
        return []
    return words if all(isinstance(word, str) for word in words) else []
