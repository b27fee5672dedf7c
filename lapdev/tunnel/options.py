"""Every limit and delay of a tunnel. Bytes and seconds; the defaults are those of the design."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lapdev.wire.mux import MuxOptions, Welcome


@dataclass(frozen=True, slots=True)
class TunnelOptions:
    mux: MuxOptions = field(default_factory=MuxOptions)
    grace: float = 30.0
    """How long a session outlives its connection, from the last byte heard."""
    handshake_timeout: float = 10.0
    """From the dialled connection to WELCOME, and from the accepted one to HELLO."""
    connect_timeout: float = 2.0
    """Of dialling alone, while tries are young; then it grows to `handshake_timeout`. The first
    packet of a connection is lost in a silence like any other, and the kernel waits ever longer
    before it sends it again: a new try is heard as soon as the silence is over."""
    close_timeout: float = 2.0
    links: int = 4
    """Connections of one session that are accepted."""
    wake_check_interval: float = 2.0
    """How often the clocks are looked at for a sleep of the machine."""
    stream_high_water: int = 65_536
    """A stream's protocol is paused while more of its bytes than this are unsent."""
    # Dialling again
    retry_first: float = 0.25
    """The first try is at once; then up to this long, doubling, with full jitter."""
    retry_most: float = 5.0
    retry_most_when_long_down: float = 10.0
    long_down: float = 600.0
    stable_after: float = 10.0
    """A connection that lasted this long makes the next failure the first again."""
    refused_delay: float = 5.0
    """At least this long after a credential was refused."""
    replaced_delay: float = 10.0
    """At least this long after a newer session of our own instance took over: no flapping."""

    def agreed(self, welcome: Welcome) -> TunnelOptions:
        """The same with what the acceptor decided."""
        liveness = replace(
            self.mux.liveness, ping_interval=max(welcome.ping_interval_ms / 1000, 0.01)
        )
        mux = replace(
            self.mux,
            stream_window=welcome.stream_window,
            session_window=welcome.session_window,
            liveness=liveness,
        )
        return replace(self, mux=mux, grace=welcome.grace_ms / 1000)
