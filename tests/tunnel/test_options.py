"""What the acceptor decides, the dialler goes by."""

from __future__ import annotations

from lapdev.tunnel import TunnelOptions
from lapdev.wire.mux import Welcome


def test_the_welcomes_figures_are_agreed_upon() -> None:
    welcome = Welcome(
        instance="c",
        session="s",
        resumed=False,
        session_window=1_000,
        stream_window=100,
        ping_interval_ms=2_500,
        grace_ms=7_000,
    )
    options = TunnelOptions(retry_most=3.0).agreed(welcome)
    assert options.mux.session_window == 1_000
    assert options.mux.stream_window == 100
    assert options.mux.liveness.ping_interval == 2.5
    assert options.grace == 7.0
    assert options.retry_most == 3.0


def test_the_defaults_are_those_of_the_design() -> None:
    options = TunnelOptions()
    assert (options.grace, options.handshake_timeout) == (30.0, 10.0)
    assert (options.mux.stream_window, options.mux.session_window) == (256 * 1024, 4 * 1024 * 1024)
    assert (options.mux.max_streams, options.mux.max_pending) == (16_384, 256)
    liveness = options.mux.liveness
    assert (liveness.ping_interval, liveness.dead_timeout) == (10.0, 10.0)
    assert (options.retry_first, options.retry_most, options.stable_after) == (0.25, 5.0, 10.0)
    assert (options.long_down, options.retry_most_when_long_down) == (600.0, 10.0)
