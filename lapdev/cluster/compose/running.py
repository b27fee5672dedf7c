"""What a service runs on this machine in place of its image, and where."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from lapdev.cluster.compose.dockerfile import ImageHints
from lapdev.cluster.compose.health import command_words
from lapdev.cluster.compose.mounts import host_path
from lapdev.cluster.compose.service import MountKind, ServiceMount
from lapdev.cluster.compose.sources import Reader
from lapdev.cluster.compose.values import Value
from lapdev.cluster.manifests.images import known_command


@dataclass(frozen=True, slots=True)
class Launch:
    """What the service finds on this machine."""

    context: str
    """The build context; empty: it is not built here."""
    folder: str
    """The project's."""
    mounts: tuple[ServiceMount, ...]
    reader: Reader


@dataclass(frozen=True, slots=True)
class Started:
    words: tuple[str, ...]
    """Empty, or no program's, where nobody says what to run."""
    working_dir: str
    is_images_own: bool
    """The words are the Dockerfile's: nothing in the Compose file replaces them."""
    hints: ImageHints
    launch: Launch

    def localise(self, text: str) -> str:
        """A path in the image, when it was copied from the build context and is still there."""
        return _localise(text, self.hints, self.launch)


def launch(service: Value, own: tuple[str, ...], hints: ImageHints, around: Launch) -> Started:
    """`own` is what `x-lapdev.command` says. See `refuse_missing_commands` for what lacks words."""
    words, is_images_own = _words(service, own, hints)
    if not own:
        words = tuple(_localise(word, hints, around) for word in words)
    return Started(words, _working_dir(service, hints, around), is_images_own, hints, around)


def _words(service: Value, own: tuple[str, ...], hints: ImageHints) -> tuple[tuple[str, ...], bool]:
    if own:
        return own, False
    entrypoint, command = service.child("entrypoint"), service.child("command")
    given = command_words(command)
    if entrypoint:
        # An entry point in the Compose file makes the image's command meaningless.
        words = command_words(entrypoint)
        return (*words, *given), False
    if hints.shell_entrypoint:
        return hints.entrypoint, not command
    return (*hints.entrypoint, *(given if command else hints.command)), not command


def refuse_missing_commands(services: Sequence[Value], words: Sequence[Sequence[str]]) -> None:
    """Every service says what to run, or the complaint names all that do not, with the remedy."""
    missing = [
        (service, given)
        for service, given in zip(services, words, strict=True)
        if not given or given[0].startswith("-")
    ]
    if not missing:
        return
    names = ", ".join(repr(service.path[-1]) for service, _ in missing)
    verb = "services {} have" if len(missing) > 1 else "service {} has"
    problem = f"{verb.format(names)} no command to run on this machine"
    (first, given), *others = missing
    image = first.child("image").text("")
    if not others and given:
        problem = f"service {names}: {given[0]!r} is an argument, not a program"
    elif not others and image:
        problem += f" (image {image!r:.100} is not run)"
    elif not others:
        problem += " (no Dockerfile says one)"
    else:
        problem += " (images are not run)"
    remedies = "; ".join(
        f"{service.path[-1]}: {_remedy(service, words)}" for service, words in missing
    )
    first.fail(problem, f"add x-lapdev to the service{'s' if others else ''}: {remedies}")


def _remedy(service: Value, words: Sequence[str]) -> str:
    known = known_command(service.child("image").text(""), words) or "what to run"
    return f"x-lapdev: {{command: {json.dumps(known, ensure_ascii=False)}}}"


def _working_dir(service: Value, hints: ImageHints, around: Launch) -> str:
    """Compose's, as far as it is on this machine; else where the service's sources are."""
    written = service.child("working_dir")
    path = written.text("") or hints.working_dir
    if path.startswith("/"):
        path = posixpath.normpath(path).replace("//", "/")
        found, mount = host_path(path, around.mounts)
        # Where a bound folder really is: there without mounts, too.
        if mount and (mount.kind is MountKind.BIND or written):
            return found
        if around.context:
            local = _localise(path, hints, around)
            return local if local != path else around.context
        if written:
            return path
    elif written and path:
        base = around.context or around.folder
        return around.reader.join(base, path)
    return around.context or around.folder


def _localise(text: str, hints: ImageHints, around: Launch) -> str:
    image, context = hints.working_dir.rstrip("/"), around.context
    if not image or not context:
        return text
    if host_path(image, around.mounts)[1] is not None:
        return text
    if text == image:
        return context
    if text.startswith(f"{image}/"):
        path = around.reader.join(context, text[len(image) + 1 :])
        if around.reader.exists(path):
            return path
    return text
