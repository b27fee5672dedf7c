"""Windows that follow what is read in a round trip."""

from __future__ import annotations

from lapdev.wire.mux import MuxOptions
from lapdev.wire.mux.frames import FrameType, decode
from lapdev.wire.mux.window import Rate, next_window
from tests.support.pair import Pair

TARGET = {"kind": "x"}


def test_a_rate_is_twice_what_passes_in_a_round_trip() -> None:
    rate = Rate()
    assert rate.wanted(0, 0.0, 0.1) == -1
    assert rate.wanted(500, 0.05, 0.1) == -1, "not a round trip yet"
    assert rate.wanted(1_000, 0.125, 0.1) == 1_600
    assert rate.wanted(1_000, 1.125, 0.1) == 0


def test_a_window_doubles_at_most_and_shrinks_by_halves() -> None:
    assert next_window(100, 1_000, 100, 10_000) == 200
    assert next_window(100, 150, 100, 10_000) == 150
    assert next_window(8_000, 90_000, 100, 10_000) == 10_000
    assert next_window(8_000, 2_000, 100, 10_000) == 8_000
    assert next_window(8_000, 1_999, 100, 10_000) == 4_000
    assert next_window(150, 0, 100, 10_000) == 100


class Path:
    """A pair with a delay each way and a rate, in virtual time; the acceptor reads at once."""

    def __init__(self, delay: float, bytes_per_second: float, options: MuxOptions) -> None:
        self.pair = Pair(options)
        self.delay = delay
        self.rate = bytes_per_second
        self.way: list[tuple[float, bool, bytes]] = []
        self.free_at = 0.0
        self.now = 0.0

    def run(self, until: float) -> None:
        dialler, acceptor = self.pair.ends()
        while self.now < until:
            for end, upward in ((dialler, True), (acceptor, False)):
                # As with a small socket buffer: what cannot leave yet stays where it is.
                room = not upward or self.free_at <= self.now + 0.001
                for message in end.mux.data_to_send(0, 65_536 if room else 0):
                    leaves = self.now
                    if upward:
                        leaves = max(self.free_at, self.now) + len(message) / self.rate
                        self.free_at = leaves
                    self.way.append((leaves + self.delay, upward, message))
            self.now += 0.000_5
            due = [item for item in self.way if item[0] <= self.now]
            self.way = [item for item in self.way if item[0] > self.now]
            for _, upward, message in due:
                end = acceptor if upward else dialler
                end.mux.heard(0, self.now)
                end.take(end.mux.receive_data(0, message))


def upload(path: Path, seconds: float) -> tuple[int, int]:
    """The bytes that arrived, and the stream's window at their reader."""
    stream = path.pair.dialler.mux.open(TARGET)
    path.pair.dialler.mux.write(stream, bytes(int(path.rate * seconds)))
    path.run(seconds)
    (theirs,) = path.pair.acceptor.opened
    return theirs.received, theirs.window


def test_on_a_long_way_the_window_grows_to_what_the_way_holds() -> None:
    received, window = upload(Path(0.04, 20_000_000, MuxOptions()), 2.0)
    in_a_round_trip = 20_000_000 * 0.08
    assert received > 0.75 * 40_000_000
    assert in_a_round_trip < window < 4 * in_a_round_trip


def test_on_a_short_way_it_stays_small() -> None:
    received, window = upload(Path(0.000_1, 20_000_000, MuxOptions()), 0.5)
    assert received > 0.9 * 10_000_000
    assert window == MuxOptions().stream_window


def test_a_stream_that_is_read_slowly_comes_back_to_its_first_window() -> None:
    path = Path(0.04, 20_000_000, MuxOptions())
    _, grown = upload(path, 1.0)
    (theirs,) = path.pair.acceptor.opened
    path.pair.acceptor.reading = False
    path.run(1.2)
    for _ in range(40):
        path.pair.now = path.now
        path.pair.acceptor.mux.consumed(theirs, min(40_000, theirs.received - theirs.consumed))
        path.run(path.now + 0.5)
    assert grown > 1_000_000
    assert theirs.window <= grown // 4


def test_a_session_that_holds_much_begins_streams_with_less() -> None:
    pair = Pair(MuxOptions(max_session_window=4_194_304))
    pair.acceptor.reading = False
    limits = []
    for _ in range(16):
        pair.dialler.mux.write(pair.dialler.mux.open(TARGET), bytes(262_144))
        pair.settle()
        pair.acceptor.mux.open(TARGET)
        (frame,) = [
            frame
            for message in pair.acceptor.mux.data_to_send(0)
            for frame in decode(message)
            if frame[0] == FrameType.OPEN
        ]
        limits.append(frame[3])
    assert limits == [262_144] * 8 + [65_536] * 4 + [16_384] * 4
