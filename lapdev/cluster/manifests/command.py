"""What a container runs as a process on this machine, in place of an image."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping

from lapdev.cluster.manifests.container import Container
from lapdev.cluster.manifests.environment import expand
from lapdev.cluster.manifests.images import known_command
from lapdev.cluster.manifests.template import template_path
from lapdev.cluster.manifests.workload import Workload
from lapdev.errors import ConfigError

COMMAND_ANNOTATION = "local.lapdev.dev/command"
"""Of the only container; of any one with `.CONTAINER` behind it."""
PYTHON_ANNOTATION = "local.lapdev.dev/python"

_BRACED = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}")


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
    if is_idle(workload, container):
        raise ConfigError(
            f"{container.where}: has no command to run on this machine"
            + (f" (image {container.image!r:.100})" if container.image else ""),
            hint=_what_to_add(workload, container),
        )
    if env is not None:
        words = [expand(word, env) for word in words]
        if annotated:
            words = [_BRACED.sub(lambda m: env.get(m["name"], m[0]), word) for word in words]
    if python and uses_own_python(workload) and words[0] in ("python3", "python"):
        words[0] = python
    return words


def is_idle(workload: Workload, container: Container) -> bool:
    """It says nothing this machine can run. Raises ConfigError when its annotation is malformed."""
    # Arguments alone would be passed to an image's entry point, and no image is run here.
    return not container.command and not _annotated_words(workload, container)


def uses_own_python(workload: Workload) -> bool:
    """The pod asks for the interpreter lapdev itself runs on."""
    return workload.pod.annotations.get(PYTHON_ANNOTATION) == "lapdev"


def _what_to_add(workload: Workload, container: Container) -> str:
    """The remedy; for an image whose program is known, the very line."""
    name = f"{COMMAND_ANNOTATION}.{container.name}"
    place = ".".join((*template_path(workload.kind), "metadata.annotations"))
    known = known_command(container.image, container.args)
    if known:
        line = f"{name}: {json.dumps(known)}"
        return f"annotate: {line} (in {place}; images are not run by the local driver)"
    return (
        f"set its command, or the annotation {name} in {place} of {workload.where}"
        " (images are not run by the local driver)"
    )


def _annotated_words(workload: Workload, container: Container) -> list[str]:
    name = f"{COMMAND_ANNOTATION}.{container.name}"
    text = workload.pod.annotations.get(name)
    if text is None and [only.name for only in workload.pod.containers] == [container.name]:
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
