"""`python -m lapdev` and the `lapdev` command."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """The command line in `sys.argv`; returns the exit code."""
    hold_standard_descriptors()
    argv = sys.argv[1:]
    # One sidecar runs in every pod: it pays for no command line library (click: 1.5 MB, 30 ms).
    if argv[:3] == ["serve", "--role", "sidecar"] and not {"--help", "--debug", "--config"} & {
        *argv
    }:
        from lapdev.serve import main_sidecar

        return main_sidecar(argv[3:], os.environ)
    from lapdev.cli import main as run_cli

    return run_cli(argv)


def hold_standard_descriptors() -> None:
    """Descriptors 0 to 2 are open, if only to nowhere.

    Started without one of them, a socket or file of ours would get its number, and what is printed.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


if __name__ == "__main__":
    sys.exit(main())
