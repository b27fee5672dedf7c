"""When the peer is asked, and when it is given up."""

from __future__ import annotations

from lapdev.wire.mux.liveness import Liveness, LivenessOptions, Verdict


def watching() -> Liveness:
    liveness = Liveness(LivenessOptions())
    liveness.heard(0.0)
    return liveness


def test_a_peer_that_speaks_is_not_asked() -> None:
    liveness = watching()
    for second in range(5, 60, 5):
        liveness.heard(float(second))
        assert liveness.handle_timeout(second + 4.9) is Verdict.WAIT


def test_silence_is_met_with_a_ping_after_ten_seconds_and_a_verdict_after_twenty() -> None:
    liveness = watching()
    assert liveness.next_deadline() == 10.0
    assert liveness.handle_timeout(9.9) is Verdict.WAIT
    assert liveness.handle_timeout(10.0) is Verdict.PROBE
    assert liveness.handle_timeout(19.9) is Verdict.WAIT
    assert liveness.next_deadline() == 20.0
    assert liveness.handle_timeout(20.0) is Verdict.DEAD


def test_any_byte_withdraws_the_question() -> None:
    liveness = watching()
    assert liveness.handle_timeout(10.0) is Verdict.PROBE
    liveness.heard(19.0)
    assert liveness.handle_timeout(20.0) is Verdict.WAIT
    assert liveness.next_deadline() == 29.0


def test_after_a_sleep_the_peer_is_asked_at_once_and_has_three_seconds() -> None:
    liveness = watching()
    assert liveness.handle_timeout(700.0) is Verdict.PROBE
    assert liveness.next_deadline() == 703.0
    assert liveness.handle_timeout(703.0) is Verdict.DEAD


def test_a_sleep_while_a_question_is_open_is_no_verdict() -> None:
    liveness = watching()
    assert liveness.handle_timeout(10.0) is Verdict.PROBE
    assert liveness.handle_timeout(75.0) is Verdict.PROBE
    liveness.heard(75.5)
    assert liveness.handle_timeout(78.0) is Verdict.WAIT
