"""When a CronJob runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from lapdev.cluster.manifests.cron import parse_schedule
from lapdev.cluster.manifests.node import Node
from lapdev.errors import ConfigError


def parse(text: Any) -> str:
    return parse_schedule(Node(text, "CronJob/x: spec.schedule"))


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("*/5 * * * *", "*/5 * * * *"),
        ("  0  9-17/2 1,15 jan-Mar ? ", "0 9-17/2 1,15 JAN-MAR *"),
        ("0 0 * * 7", "0 0 * * 7"),
        ("0 0 * * mon-fri", "0 0 * * MON-FRI"),
        ("@hourly", "0 * * * *"),
        ("@midnight", "0 0 * * *"),
    ],
)
def test_schedules_are_five_fields(written: str, wanted: str) -> None:
    assert parse(written) == wanted


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "'' is not a schedule"),
        ("* * * *", "is not a schedule"),
        ("* * * * * *", "is not a schedule"),
        ("@every 5m", "is not a schedule"),
        ("TZ=UTC * * * * *", "is not a schedule"),
        ("60 * * * *", "'60' is no minute"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "'0' is no day of the month"),
        ("* * * 13 *", "'13' is no month"),
        ("* * * * 8", "'8' is no day of the week"),
        ("* * * * MONDAY", "'MONDAY' is no day of the week"),
        ("*/0 * * * *", r"'\*/0' is no minute"),
        ("*-5 * * * *", "is no minute"),
        ("5-1 * * * *", "'5-1' is no minute"),
        ("1,,2 * * * *", "'' is no minute"),
        (5, "is int"),
    ],
)
def test_what_is_no_schedule_is_refused(written: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        parse(written)
    assert caught.value.hint


numbers = st.integers(0, 60).map(str) | st.sampled_from(["MON", "sun", "JAN", "dec", "*", "?", "L"])
parts = st.one_of(
    numbers,
    st.tuples(numbers, numbers).map("-".join),
    st.tuples(numbers, st.integers(0, 70).map(str)).map("/".join),
)
fields = st.lists(parts, min_size=1, max_size=2).map(",".join)


@given(st.lists(fields | st.just("*"), min_size=5, max_size=5).map(" ".join))
def test_what_is_accepted_can_be_scheduled(text: str) -> None:
    try:
        accepted = parse(text)
    except ConfigError:
        return
    CronSim(accepted, datetime(2024, 1, 1))
