"""One stream's offsets: credit, acknowledgement, rewinding, and what it costs when idle."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapdev.errors import LocalProtocolError, RemoteProtocolError
from lapdev.wire.mux.stream import MERGE_BYTES, MERGE_PIECES, MuxStream


def stream(send_limit: int = 262_144, window: int = 262_144) -> MuxStream:
    return MuxStream(1, local=True, window=window, send_limit=send_limit)


def test_data_is_taken_as_credit_allows() -> None:
    one = stream(send_limit=5)
    one.append(b"hello world")
    assert one.take(1000) == b"hello"
    assert one.take(1000) == b""
    assert not one.sendable
    one.send_limit = 100
    assert one.sendable
    assert one.take(1000) == b" world"


def test_small_writes_leave_together_and_large_ones_in_pieces() -> None:
    one = stream()
    for _ in range(10):
        one.append(b"x")
    one.append(b"y" * 100_000)
    first = one.take(65_536)
    assert first == b"x" * 10
    assert len(one.take(65_536)) == 65_536
    assert len(one.take(65_536)) == 100_000 - 65_536


def test_acknowledged_bytes_are_freed_wherever_they_end() -> None:
    one = stream()
    one.append(b"abcdef")
    one.take(3)
    one.take(3)
    one.acknowledge(2)
    one.acknowledge(2)
    one.acknowledge(1)  # older news
    one.acknowledge(4)
    one.rewind(4)
    assert one.take(100) == b"ef"


def test_more_than_was_sent_cannot_be_acknowledged() -> None:
    one = stream()
    one.append(b"abc")
    one.take(2)
    with pytest.raises(RemoteProtocolError, match="acknowledged"):
        one.acknowledge(3)


def test_the_end_takes_one_place_in_the_count() -> None:
    one = stream()
    one.append(b"abc")
    one.fin_queued = True
    one.take(100)
    with pytest.raises(RemoteProtocolError):
        one.acknowledge(4)
    one.fin_sent = True
    one.acknowledge(3)
    assert not one.fin_acked
    one.acknowledge(4)
    assert one.fin_acked


def test_rewinding_sends_again_what_was_lost_and_the_end_with_it() -> None:
    one = stream()
    one.append(b"abcdef")
    one.fin_queued = True
    assert one.take(100) == b"abcdef"
    one.fin_sent = True
    one.rewind(2)
    assert one.sent == 2
    assert not one.fin_sent
    assert one.take(100) == b"cdef"


def test_nobody_resumes_below_what_was_acknowledged() -> None:
    one = stream()
    one.append(b"abcdef")
    one.take(6)
    one.acknowledge(4)
    with pytest.raises(RemoteProtocolError, match="below"):
        one.rewind(3)


def test_writing_after_the_end_or_a_reset_is_our_own_error() -> None:
    one = stream()
    one.fin_queued = True
    with pytest.raises(LocalProtocolError):
        one.append(b"x")
    two = stream()
    two.reset_cause = "aborted"
    with pytest.raises(LocalProtocolError):
        two.append(b"x")
    assert not two.sendable


@pytest.mark.parametrize(("offset", "size"), [(1, 1), (0, 11), (11, 1)])
def test_row_61_data_out_of_place_or_beyond_credit_is_refused(offset: int, size: int) -> None:
    one = stream(window=10)
    with pytest.raises(RemoteProtocolError):
        one.receive(offset, size)


def test_row_61_one_byte_beyond_credit_is_refused() -> None:
    one = stream(window=10)
    one.receive(0, 10)
    with pytest.raises(RemoteProtocolError, match="flow control"):
        one.receive(10, 1)


def test_the_end_is_where_the_data_ended_and_comes_once() -> None:
    one = stream()
    one.receive(0, 5)
    with pytest.raises(RemoteProtocolError, match="bad end"):
        one.receive_fin(6)
    one.receive_fin(5)
    with pytest.raises(RemoteProtocolError, match="bad end"):
        one.receive_fin(5)
    with pytest.raises(RemoteProtocolError, match="after the end"):
        one.receive(5, 1)
    assert (one.received_position, one.consumed_position) == (6, 0)
    one.consumed = 5
    assert one.consumed_position == 6


def test_credit_is_due_at_an_eighth_of_the_window() -> None:
    one = stream(window=800)
    one.receive(0, 200)
    one.consumed = 99
    assert not one.credit_due
    one.consumed = 100
    assert one.credit_due
    one.grant()
    assert not one.credit_due
    assert one.receive_limit == 900


def test_one_byte_writes_cost_little_more_than_their_bytes() -> None:
    one = stream()
    for _ in range(20_000):
        one.append(b"x")
        one.take(1)
    assert len(one._unacked) <= 20_000 // (MERGE_BYTES // 2) + MERGE_PIECES
    one.acknowledge(19_999)
    one.rewind(19_999)
    assert one.take(10) == b"x"


def test_an_idle_stream_costs_at_most_a_kibibyte() -> None:
    one = stream()
    one.append(b"x" * 100_000)
    while one.take(65_536):
        pass
    one.acknowledge(100_000)
    held = [getattr(one, name) for name in MuxStream.__slots__]
    assert sys.getsizeof(one) + sum(sys.getsizeof(value) for value in held) <= 1_536
    own = sum(
        sys.getsizeof(v) for v in held if isinstance(v, int | list) and sys.getrefcount(v) < 9
    )
    assert sys.getsizeof(one) + own <= 1_024


@given(st.data())
def test_any_writes_takes_acknowledgements_and_rewinds_give_the_same_bytes(
    data: st.DataObject,
) -> None:
    one = stream(send_limit=10_000)
    written = bytearray()
    heard = bytearray()
    """What a peer that takes up every piece in order has."""
    for _ in range(data.draw(st.integers(1, 30))):
        match data.draw(st.sampled_from(["write", "take", "acknowledge", "rewind"])):
            case "write":
                piece = bytes([len(written) % 251]) * data.draw(st.integers(1, 6000))
                one.append(piece)
                written += piece
            case "take":
                offset = one.sent
                piece = one.take(data.draw(st.integers(1, 7000)))
                assert bytes(written[offset : offset + len(piece)]) == piece
                if offset == len(heard):
                    heard += piece
            case "acknowledge":
                position = data.draw(st.integers(one.acked, one.sent))
                one.acknowledge(position)
            case "rewind":
                position = data.draw(st.integers(one.acked, one.sent))
                one.rewind(position)
                del heard[position:]
        one.send_limit = max(one.send_limit, one.acked + 10_000)
    while one.unsent_bytes:
        one.send_limit = one.end
        heard += one.take(65_536)
    assert heard == written
