"""What a controller looks at, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Outcome(StrEnum):
    """How a pod ended by itself."""

    NONE = ""
    """It has not, or it was stopped."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(slots=True)
class Seen:
    """A pod as its controller sees it."""

    name: str
    digest: str
    ready: bool = False
    stopping: bool = False
    outcome: Outcome = Outcome.NONE
    ordinal: int | None = None
    """Its place in a StatefulSet or in an indexed Job."""
    run: str = ""
    """Which run of a CronJob it belongs to."""
    updatable: bool = False
    """It could become what is wanted without a new pod."""
    restarts: int = 0
    why: str = ""
    """Why it is not ready, as far as known."""
    last_exit: str = ""

    @property
    def ended(self) -> bool:
        return self.outcome is not Outcome.NONE

    @property
    def useful(self) -> bool:
        """It serves, or has done all it was for."""
        return (self.ready or self.outcome is Outcome.SUCCEEDED) and not self.stopping


@dataclass(frozen=True, slots=True)
class Start:
    """A pod to start."""

    ordinal: int | None = None
    run: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    start: tuple[Start, ...] = ()
    stop: tuple[str, ...] = ()
    """Names of pods; those that have ended are forgotten with what they printed."""
    update: tuple[str, ...] = ()
    """Names of pods that become what is wanted while they stay."""
    again_in: float | None = None
    """Seconds until the answer may be another although nothing has changed."""
    detail: str = ""
    """What it waits for, for people."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by both clocks."""

    seconds: float
    """Only grows, from an unknown beginning; stands still while a laptop sleeps."""
    wall: datetime
    """With its zone."""
