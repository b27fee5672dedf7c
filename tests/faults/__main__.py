"""`python -m tests.faults F6 --seed 7`: scenarios by name, each in a network of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from dataclasses import asdict, replace

from tests.faults import network, results
from tests.faults.scenarios import SCENARIOS, chosen
from tests.faults.stage import Result, perform


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help=f"all, or of: {', '.join(SCENARIOS)}")
    parser.add_argument("--seed", type=int, help="default: a random one, which is printed")
    parser.add_argument("--minutes", type=float, default=60, help="of a soak")
    parser.add_argument("--scale", type=float, default=1.0, help="every wait is so much shorter")
    parser.add_argument("--links", type=int, default=0, help="links of the session that is hit")
    parser.add_argument("--record", action="store_true", help="add a line to docs/reliability.md")
    parser.add_argument("--json", action="store_true", help="a JSON object per scenario")
    given = parser.parse_args(words)
    unknown = set(given.scenarios) - {*SCENARIOS, "all"}
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}: there are {', '.join(SCENARIOS)}")
    if given.record and given.scale != 1:
        parser.error("--record is for whole runs, without --scale")
    return given


def main(words: list[str]) -> int:
    given = arguments(words)
    if given.seed is None:
        given.seed = random.SystemRandom().randrange(1_000_000)
        words = [*words, f"--seed={given.seed}"]
    if not network.inside():
        return network.enter_own_network(words)
    failed = 0
    for scenario in chosen(given.scenarios, given.minutes):
        if given.links:
            scenario = replace(scenario, links=given.links)
        print(f"{scenario.name}: {scenario.title}, seed {given.seed}", file=sys.stderr, flush=True)
        result = asyncio.run(perform(scenario, given.seed, given.scale))
        show(result, as_json=given.json)
        if given.record:
            results.record(result)
        failed += not result.passed
    return min(failed, 1)


def show(result: Result, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**asdict(result), "passed": result.passed}), flush=True)
        return
    print(results.line(result))
    for finding in result.findings[:40]:
        print(f"  {finding}")
    if len(result.findings) > 40:
        print(f"  and {len(result.findings) - 40} more")
    print(
        "  " + ", ".join(f"{n} {name}" for name, n in sorted(result.outcomes.items())), flush=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
