"""Which Jobs of a namespace are done, beside its claims: a driver's successor runs none again.

What has been done to data that has stayed must not be done twice. The file is small and written
seldom, whole or not at all; one that cannot be read says nothing, and its Jobs run again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Container
from pathlib import Path

from lapdev.cluster.controllers import DoneJob
from lapdev.errors import RemoteProtocolError
from lapdev.log import get_logger
from lapdev.wire.plain import from_plain

FILE = ".jobs.json"
"""In the folder of the namespace's claims, none of which can be called so. Goes with them."""


class DoneJobs:
    """Workload → its run that is done."""

    def __init__(self, claims: Path) -> None:
        self._path = claims / FILE
        self._known = _read(self._path)

    def get(self, workload: str) -> DoneJob | None:
        return self._known.get(workload)

    def note(self, workload: str, done: DoneJob) -> None:
        """It is remembered; where the disk does not take it, until this process ends."""
        if self._known.get(workload) != done:
            self._known[workload] = done
            self._write()

    def keep(self, workloads: Container[str]) -> None:
        """Of others nothing is remembered."""
        kept = {name: done for name, done in self._known.items() if name in workloads}
        if kept != self._known:
            self._known = kept
            self._write()

    def _write(self) -> None:
        plain = {name: dataclasses.asdict(done) for name, done in self._known.items()}
        draft = self._path.with_name(f"{FILE}.new")
        try:
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(plain), encoding="ascii")
            draft.replace(self._path)
        except OSError as exc:
            get_logger().warning("done_jobs_not_kept", target=str(self._path), error=str(exc))


def _read(path: Path) -> dict[str, DoneJob]:
    try:
        plain = json.loads(path.read_bytes())
        return {name: from_plain(DoneJob, value) for name, value in plain.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RemoteProtocolError) as exc:
        get_logger().warning("done_jobs_not_read", target=str(path), error=str(exc))
        return {}
