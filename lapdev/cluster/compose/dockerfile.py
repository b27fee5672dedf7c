"""What a Dockerfile says about running its image: the hints for running it without an image.

Nothing is built. Base images are unknown; stages of the same file are followed.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

_HEREDOC = re.compile(r"<<-?[\"']?([A-Za-z_][A-Za-z0-9_]*)[\"']?")
_VARIABLE = re.compile(r"\\\$|\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:[-+])([^}]*))?\})")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_OPTION = re.compile(r"--([a-z-]+)=(\S+)\s*")


@dataclass(frozen=True, slots=True)
class ImageHints:
    """Of one stage."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    """TCP."""
    working_dir: str = ""
    healthcheck: tuple[str, ...] = ()
    """As in a Compose file: `CMD`, `CMD-SHELL` or `NONE` first; empty: nothing said."""
    health_options: dict[str, str] = field(default_factory=dict)
    """`interval`, `timeout`, `start_period`, `start_interval`, `retries`."""
    shell_entrypoint: bool = False
    """It is one line for a shell, which takes no arguments."""


def image_hints(text: str, target: str = "", args: dict[str, str] | None = None) -> ImageHints:
    """The hints of the last stage, or of the stage called `target`; empty when there is none."""
    stages: dict[str, ImageHints] = {}
    given = dict(args or {})
    defaults: dict[str, str] = {}
    stage: _Stage | None = None
    for word, rest in _instructions(text):
        if word == "FROM":
            if stage:
                stages[stage.name] = stage.hints
            names = [part for part in rest.split() if not part.startswith("--")]
            base = _expand(names[0], defaults).lower() if names else ""
            name = names[2].lower() if len(names) > 2 else str(len(stages))
            inherited = stages.get(base, ImageHints())
            stage = _Stage(name, inherited, {**defaults, **inherited.env})
        elif stage:
            stage.read(word, rest, given)
        elif word == "ARG":
            name, _, default = rest.partition("=")
            defaults[name.strip()] = given.get(name.strip(), _unquoted(default))
    if stage:
        stages[stage.name] = stage.hints
    if target:
        return stages.get(target.lower(), ImageHints())
    return stage.hints if stage else ImageHints()


class _Stage:
    def __init__(self, name: str, base: ImageHints, variables: dict[str, str]) -> None:
        self.name = name
        self.hints = base
        self._variables = variables
        self._inherits_command = True

    def read(self, word: str, rest: str, args: dict[str, str]) -> None:
        match word:
            case "ENTRYPOINT":
                words = _words(rest)
                # An entry point of its own makes an inherited command meaningless.
                command = () if self._inherits_command else self.hints.command
                self.hints = replace(
                    self.hints,
                    entrypoint=words,
                    command=command,
                    shell_entrypoint=_is_shell(words, rest),
                )
            case "CMD":
                self._inherits_command = False
                self.hints = replace(self.hints, command=_words(rest))
            case "ENV":
                env = self.hints.env | self._assignments(rest)
                self.hints = replace(self.hints, env=env)
                self._variables |= env
            case "ARG":
                for name, default in self._assignments(rest, bare=True).items():
                    self._variables[name] = args.get(name, default)
            case "EXPOSE":
                self.hints = replace(
                    self.hints, ports=(*self.hints.ports, *_ports(_expand(rest, self._variables)))
                )
            case "WORKDIR":
                path = _unquoted(_expand(rest.strip(), self._variables))
                if not path.startswith("/"):
                    path = f"{self.hints.working_dir.rstrip('/')}/{path}"
                self.hints = replace(self.hints, working_dir=path)
            case "HEALTHCHECK":
                self._healthcheck(rest)
            case _:
                pass

    def _assignments(self, rest: str, bare: bool = False) -> dict[str, str]:
        if not bare and not _ASSIGNMENT.match(rest):  # ENV NAME value with spaces
            name, _, value = rest.partition(" ")
            return {name: _expand(value.strip(), self._variables)} if name else {}
        found = {}
        for word in _split(_expand(rest, self._variables)):
            name, sign, value = word.partition("=")
            if sign:
                found[name] = value
            elif bare:
                found[name] = self._variables.get(name, "")
        return found

    def _healthcheck(self, rest: str) -> None:
        options = {}
        while match := _OPTION.match(rest):
            options[match[1].replace("-", "_")] = match[2]
            rest = rest[match.end() :]
        word, _, command = rest.partition(" ")
        if word.upper() == "NONE":
            test: tuple[str, ...] = ("NONE",)
        elif command.lstrip().startswith("["):
            test = ("CMD", *_words(command))
        else:
            test = ("CMD-SHELL", command.strip())
        self.hints = replace(self.hints, healthcheck=test, health_options=options)


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """(instruction, rest), continuation lines joined, comments and here-documents left out."""
    escape = "`" if re.match(r"(?:#.*\n)*#\s*escape\s*=\s*`", text) else "\\"
    heredoc = ""
    joined = ""
    for line in text.splitlines():
        if heredoc:
            heredoc = "" if line.strip() == heredoc else heredoc
            continue
        stripped = line.strip()
        if stripped.startswith("#") or not stripped:
            continue
        if stripped.endswith(escape):
            joined += stripped[:-1] + " "
            continue
        word, _, rest = (joined + stripped).partition(" ")
        joined = ""
        if word.upper() in ("RUN", "COPY", "ADD") and (match := _HEREDOC.search(rest)):
            heredoc = match[1]
        yield word.upper(), rest.strip()


def _words(text: str) -> tuple[str, ...]:
    """A JSON list of words, or a line for a shell."""
    text = text.strip()
    if text.startswith("["):
        try:
            words = json.loads(text)
        except (ValueError, RecursionError):
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return tuple(words)
    return ("/bin/sh", "-c", text) if text else ()


def _is_shell(words: tuple[str, ...], text: str) -> bool:
    return words[:2] == ("/bin/sh", "-c") and not text.strip().startswith("[")


def _ports(text: str) -> Iterator[int]:
    for word in text.split():
        number, _, protocol = word.partition("/")
        first, _, last = number.partition("-")
        if protocol.lower() in ("", "tcp") and first.isdecimal() and (last or first).isdecimal():
            low, high = int(first[:6]), int((last or first)[:6])
            if 0 < low <= high <= 65535 and high - low < 100:
                yield from range(low, high + 1)


def _expand(text: str, variables: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if not name:
            return "$"
        found = variables.get(name, "")
        if match[3] == ":-":
            return found or match[4]
        if match[3] == ":+":
            return match[4] if found else ""
        return found

    return _VARIABLE.sub(value, text)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _unquoted(text: str) -> str:
    return "".join(_split(text.strip())[:1])
