"""A port that refuses connections."""

from __future__ import annotations

import socket


def unused_port() -> int:
    """A loopback port on which nothing listens: it was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
