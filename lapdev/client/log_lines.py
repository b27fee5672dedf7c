"""What containers print, from the API: which lines are new, and how they look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from typing import NamedTuple

import click

from lapdev.client.rest import ApiError, Json, RestClient
from lapdev.client.terminal import COLOURS
from lapdev.errors import LapdevError, UpstreamClosed

RECONNECT_TIMEOUT = 60.0
RECONNECT_INTERVAL = 0.5
STEADY_AFTER = 5.0
"""A connection that lasted this long was a good one, whether or not anything was printed."""
LONGEST_LABEL = 40


@dataclass(frozen=True, slots=True)
class Wish:
    """Whose lines, and how many of those printed already of each container."""

    environment: str
    workload: str
    container: str = ""
    lines: int = 1000

    def query(self, follow: bool) -> Json:
        return {
            "workload": self.workload,
            "container": self.container,
            "lines": self.lines,
            "follow": "true" if follow else "false",
        }


class Source(NamedTuple):
    """Who prints."""

    pod: str
    container: str


def source_of(line: Json) -> Source:
    return Source(line["pod"], line["container"])


def past(client: RestClient, wish: Wish) -> list[Json]:
    """What has been printed, in its order over all containers."""
    found = client.lines("environments", wish.environment, "logs", query=wish.query(False))
    return sorted(found, key=lambda line: float(line["time"]))


def last_lines(client: RestClient, wish: Wish) -> list[str]:
    """The last lines, for people; fewer or none where they cannot be had."""
    try:
        found = past(client, wish)
    except LapdevError:
        return []  # only an aside of another message
    look = Look()
    found = found[-wish.lines :]
    look.learn(found)
    return [look.text(line) for line in found]


@dataclass(slots=True)
class Follow:
    """Lines as they come, through restarts of the server: each once."""

    client: RestClient
    wish: Wish
    seen: Seen
    note: Callable[[str], None]
    pause: Callable[[float], None]
    clock: Callable[[], float]

    def lines(self) -> Iterator[Json]:
        """Ends when there is nothing left to follow.

        Raises:
            LapdevError: the first connection failed, or none was made for `RECONNECT_TIMEOUT`.
        """
        path = ("environments", self.wish.environment, "logs")
        lost_at: float | None = None
        while True:
            self.seen.rewind()
            began = self.clock()
            try:
                for line in self.client.lines(*path, query=self.wish.query(True)):
                    lost_at = None
                    if self.seen.is_new(line):
                        yield line
                raise UpstreamClosed("the server ended the stream")
            except UpstreamClosed as exc:
                failure: LapdevError = exc
                lost_at = None if self.clock() - began >= STEADY_AFTER else lost_at
            except LapdevError as exc:
                if lost_at is None:
                    raise
                failure = exc
            if lost_at is None:
                lost_at = self.clock()
                self.note("the connection was lost; trying again")
            elif self.clock() - lost_at >= RECONNECT_TIMEOUT:
                raise failure
            self.pause(RECONNECT_INTERVAL)
            if gone := self._gone():
                self.note(gone)
                return

    def _gone(self) -> str:
        """What is not there any more; empty while it may come back."""
        try:
            found = self.client.call("GET", "environments", self.wish.environment)
        except ApiError as exc:
            return exc.detail if exc.answer_status == 404 else ""
        except LapdevError:
            return ""
        names = [workload["name"] for workload in found["workloads"]]
        # A server that has just been started knows of none yet.
        if names and self.wish.workload not in names:
            return f"{self.wish.environment} has no workload {self.wish.workload} any more"
        return ""


class Seen:
    """Which lines have been had, to go on after them on another connection."""

    def __init__(self) -> None:
        self._last: dict[Source, tuple[float, int]] = {}
        """The time of the last line, and how many of that time there were."""
        self._again: dict[Source, tuple[float, int]] = {}

    def rewind(self) -> None:
        """What comes next begins somewhere before the end of what was seen."""
        self._again = dict(self._last)

    def is_new(self, line: Json) -> bool:
        """Not had before. Only a replay is compared: a clock may be set back."""
        source, time = source_of(line), float(line["time"])
        if source in self._again:
            last, left = self._again[source]
            if time < last:
                return False
            if time == last and left:
                self._again[source] = (last, left - 1)
                return False
            del self._again[source]
        last, count = self._last.get(source, (time, 0))
        self._last[source] = (time, count + 1 if time == last else 1)
        return True


@dataclass(slots=True)
class Look:
    """How lines look: who printed them is said when it may be several."""

    timestamps: bool = False
    colours: bool = False
    _sources: dict[Source, None] = field(default_factory=dict)
    _colour_of: dict[str, str] = field(default_factory=dict)
    _free_colours: Iterator[str] = field(default_factory=lambda: cycle(COLOURS))

    def learn(self, lines: Iterable[Json]) -> None:
        """These will be shown: their labels are as wide as the widest of them."""
        self._sources.update(dict.fromkeys(map(source_of, lines)))

    def text(self, line: Json) -> str:
        self.learn([line])
        source = source_of(line)
        time = f"{_utc(line['time'])} " if self.timestamps else ""
        if len(self._sources) == 1:
            return f"{time}{line['text']}"
        labels = self._labels()
        width = min(max(map(len, labels.values())), LONGEST_LABEL)
        label = f"{labels[source]:<{width}} |"
        if self.colours:
            label = click.style(label, fg=self._colour(source))
        return f"{label} {time}{line['text']}"

    def _labels(self) -> Mapping[Source, str]:
        """The part of a source's name that tells it from the others."""
        if len({source.pod for source in self._sources}) == 1:
            return {source: source.container for source in self._sources}
        return {source: "/".join(source) for source in self._sources}

    def _colour(self, source: Source) -> str:
        one_pod = len({source.pod for source in self._sources}) == 1
        name = source.container if one_pod else source.pod
        if name not in self._colour_of:
            self._colour_of[name] = next(self._free_colours)
        return self._colour_of[name]


def _utc(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
