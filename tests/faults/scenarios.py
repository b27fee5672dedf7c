"""Every scenario by its name."""

from __future__ import annotations

from tests.faults.of_clients import CLIENT_FAULTS
from tests.faults.of_links import LINK_FAULTS, SMOKE
from tests.faults.of_memory import MEMORY_FAULTS
from tests.faults.of_packets import PACKET_FAULTS
from tests.faults.of_processes import PROCESS_FAULTS
from tests.faults.soak import soak_of
from tests.faults.stage import Scenario

MINUTES = 60.0
SCENARIOS = {
    each.name: each
    for each in (
        SMOKE,
        *PROCESS_FAULTS,
        *LINK_FAULTS,
        *PACKET_FAULTS,
        *CLIENT_FAULTS,
        *MEMORY_FAULTS,
        soak_of(MINUTES),
    )
}


def chosen(names: list[str], minutes: float = MINUTES) -> list[Scenario]:
    """Those named, in that order; all but the soak, when `all` is asked for or nothing is."""
    if not names or "all" in names:
        return [each for name, each in SCENARIOS.items() if name != "soak"]
    return [soak_of(minutes) if name == "soak" else SCENARIOS[name] for name in names]
