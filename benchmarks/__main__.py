"""`python -m benchmarks [NAME]`: runs one benchmark, or all, and prints its table.

`tunnel` runs only when it is named: it takes long, needs root, and takes arguments of its own.
"""

from __future__ import annotations

import argparse
import platform
import sys
import sysconfig

from benchmarks import environments, http1_parse, sidecar_start
from benchmarks.tunnel import command as tunnel

BENCHMARKS = {
    "environments": environments,
    "http1_parse": http1_parse,
    "sidecar_start": sidecar_start,
}


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=[*BENCHMARKS, "tunnel", "all"], default="all")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default 7)")
    if sys.argv[1:2] == ["tunnel"]:
        tunnel.main(sys.argv[2:])
        return
    arguments = parser.parse_args()
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    print(
        f"{platform.python_implementation()} {platform.python_version()}"
        f" ({'optimised' if optimised else 'no --enable-optimizations recorded'}),"
        f" {platform.machine()}"
    )
    for name, module in BENCHMARKS.items():
        if arguments.name in (name, "all"):
            module.run(arguments.rounds)


if __name__ == "__main__":
    main()
