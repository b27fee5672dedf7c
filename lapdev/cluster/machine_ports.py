"""The machine's TCP ports, which pods without isolation share: who listens where."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lapdev.cluster.interfaces import open_diag
from lapdev.cluster.sock_diag import Listening, SockDiag
from lapdev.cluster.sockets import Listeners, holders, processes, session_of

EVERYWHERE = ("0.0.0.0", "::")
"""What listens here answers at every address of the machine, pods' own ones too."""
SERVICE = "a Service of this lapdev"
STRANGER = "another program of this machine"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose processes a session's are."""

    pod: str
    process: str
    """`container web`, `lapdev's own sidecar`."""

    def __str__(self) -> str:
        return f"{self.process} of pod {self.pod}"


@dataclass(slots=True)
class MachinePorts:
    """One for all pods of a driver. Who holds a socket is looked up once for each."""

    list_processes: Callable[[], Iterable[int]] = processes
    _owners: dict[int, Owner] = field(default_factory=dict)
    """Session id → whose it is, of what runs in pods."""
    _listeners: Listeners | None = None
    _seen: frozenset[int] = frozenset()
    """The sockets that listened when last asked."""
    _holders: dict[int, frozenset[int]] = field(default_factory=dict)
    """Listening socket → the sessions of pods that hold it."""
    _own: set[int] = field(default_factory=set)
    """Sockets of this process."""

    def enter(self, session: int, owner: Owner) -> None:
        """A process of a pod has started; it leads the session."""
        self._owners[session] = owner
        # Its sockets may have been looked at before anybody knew whose it is.
        self._holders.clear()

    def leave(self, sessions: Iterable[int]) -> None:
        """They are over."""
        for session in sessions:
            self._owners.pop(session, None)

    def listening(self) -> list[Listening]:
        """Every listening TCP socket of the machine."""
        if self._listeners is None:
            self._listeners = _machine_listeners()
        found = self._listeners.now()
        self._seen = frozenset(each.inode for each in found)
        return found

    def holders(self, inode: int) -> frozenset[int]:
        """The sessions of pods that hold this socket; none for a stranger's."""
        if inode not in self._holders:
            self._look_up()
        return self._holders.get(inode, frozenset())

    def whose(self, inode: int) -> str:
        """For people: `container web of pod api-x`."""
        owners = (self._owners.get(session) for session in self.holders(inode))
        owner = next((str(owner) for owner in owners if owner is not None), "")
        return owner or (SERVICE if inode in self._own else STRANGER)

    def _look_up(self) -> None:
        kept = {inode: held for inode, held in self._holders.items() if inode in self._seen}
        new = self._seen - kept.keys()
        pids = [pid for pid in self.list_processes() if session_of(pid) in self._owners]
        self._holders = kept | holders(new, pids)
        mine = holders(new, [os.getpid()])
        self._own = (self._own & self._seen) | {inode for inode, held in mine.items() if held}

    def close(self) -> None:
        """Idempotent."""
        if self._listeners is not None:
            self._listeners.close()
            self._listeners = None


def _machine_listeners() -> Listeners:
    try:
        diag = SockDiag(open_diag())
    except OSError:
        diag = None
    return Listeners(Path("/proc/self/net"), diag)
