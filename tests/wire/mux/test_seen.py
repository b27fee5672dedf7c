"""Ids that come in any order, each once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lapdev.wire.mux.frames import MAX_MISSING_RANGES, MAX_OFFSET
from lapdev.wire.mux.seen import SeenIds, is_unseen


@given(st.lists(st.integers(0, 30).map(lambda n: 2 * n + 1), max_size=40))
def test_an_id_is_taken_once_and_what_is_unseen_is_reported(ids: list[int]) -> None:
    seen, model = SeenIds(), set[int]()
    for stream_id in ids:
        assert seen.take(stream_id) == (stream_id not in model)
        model.add(stream_id)
        for other in range(1, 65, 2):
            assert is_unseen(other, seen.highest, seen.missing) == (other not in model)
    flat = [edge for part in seen.missing for edge in part]
    assert flat == sorted(flat)


def test_ids_in_order_leave_nothing_to_report() -> None:
    seen = SeenIds()
    assert all(seen.take(2 * n) for n in range(1, 100))
    assert (seen.highest, seen.missing) == (198, [])


def test_a_hostile_jump_costs_one_entry_and_gaps_without_end_are_bounded() -> None:
    seen = SeenIds()
    for n in range(1, 2 * MAX_MISSING_RANGES):
        seen.take(4 * n + 1)
    seen.take(MAX_OFFSET)
    assert len(seen.missing) == MAX_MISSING_RANGES
    assert not seen.take(3), "the oldest gap counts as used"
    assert seen.take(MAX_OFFSET - 2)


def test_a_gap_cut_into_ever_more_gaps_is_bounded_too() -> None:
    seen = SeenIds()
    seen.take(MAX_OFFSET)
    for n in range(MAX_MISSING_RANGES + 10):
        assert seen.take(4 * n + 3)
    assert len(seen.missing) == MAX_MISSING_RANGES
