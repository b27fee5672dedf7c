"""`python -m lapdev` and the `lapdev` command."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """The command line in `sys.argv`; returns the exit code."""
    argv = sys.argv[1:]
    # One sidecar runs in every pod: it pays for no command line library (click: 1.5 MB, 30 ms).
    if argv[:3] == ["serve", "--role", "sidecar"] and not {"--help", "--debug", "--config"} & {
        *argv
    }:
        from lapdev.serve import main_sidecar

        return main_sidecar(argv[3:], os.environ)
    from lapdev.cli import main as run_cli

    return run_cli(argv)


if __name__ == "__main__":
    sys.exit(main())
