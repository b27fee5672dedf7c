"""When a CronJob is due: zones, clocks that are set, and times that never come."""

from __future__ import annotations

from datetime import datetime

import pytest

from lapdev.cluster.controllers.calendar import check_schedule, latest_due, next_after
from lapdev.cluster.manifests import Schedule
from lapdev.errors import ConfigError


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("expression", "zone", "now", "expected"),
    [
        ("*/5 * * * *", "", "2026-03-02 12:00:00", "2026-03-02 12:05:00"),
        ("*/5 * * * *", "", "2026-03-02 12:04:59.999", "2026-03-02 12:05:00"),
        ("0 9 * * MON-FRI", "", "2026-03-06 09:00:00", "2026-03-09 09:00:00"),
        ("0 9 * * *", "Europe/Berlin", "2026-03-02 00:00:00", "2026-03-02 08:00:00"),
        ("0 9 * * *", "Europe/Berlin", "2026-07-02 00:00:00", "2026-07-02 07:00:00"),
        # either of two days that are both given
        ("0 0 13 * FRI", "", "2026-03-01 00:00:00", "2026-03-06 00:00:00"),
        # clocks are set forward: 02:30 is not there, 03:00 comes for it
        ("30 2 * * *", "Europe/Berlin", "2026-03-29 00:00:00", "2026-03-29 01:00:00"),
        # and back: 02:30 comes twice, and counts once
        ("30 2 * * *", "Europe/Berlin", "2026-10-24 22:00:00", "2026-10-25 00:30:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:30:00", "2026-10-26 01:30:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 01:15:00", "2026-10-26 01:30:00"),
    ],
)
def test_the_next_time(expression: str, zone: str, now: str, expected: str) -> None:
    assert next_after(Schedule(expression, zone), at(now)) == at(expected)


@pytest.mark.parametrize(
    ("expression", "zone", "since", "until", "expected"),
    [
        ("*/5 * * * *", "", "2026-03-02 12:00:00", "2026-03-02 12:04:59", ""),
        ("*/5 * * * *", "", "2026-03-02 12:00:00", "2026-03-02 12:05:00", "2026-03-02 12:05:00"),
        ("*/5 * * * *", "", "2026-03-02 12:00:00", "2026-03-02 12:05:00.5", "2026-03-02 12:05:00"),
        # after a week of sleep: the last of two thousand
        ("*/5 * * * *", "", "2026-03-02 12:00:00", "2026-03-09 12:03:00", "2026-03-09 12:00:00"),
        ("0 9 * * *", "Europe/Berlin", "2026-03-01 12:00", "2026-03-02 08:00", "2026-03-02 08:00"),
        ("0 9 * * *", "Europe/Berlin", "2026-03-02 08:00", "2026-03-02 09:00", ""),
        ("0 0 1 1 *", "", "2026-03-02 12:00:00", "2026-06-02 12:00:00", ""),
    ],
)
def test_the_last_time_that_was_due(
    expression: str, zone: str, since: str, until: str, expected: str
) -> None:
    due = latest_due(Schedule(expression, zone), at(since), at(until))
    assert due == (at(expected) if expected else None)


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 2,4,6 *", "what is this now"])
def test_what_never_comes_is_refused(expression: str) -> None:
    with pytest.raises(ConfigError, match=r"CronJob/tidy: the schedule .* never comes"):
        check_schedule(Schedule(expression), "CronJob/tidy")


def test_a_leap_day_comes() -> None:
    check_schedule(Schedule("0 0 29 2 *"), "CronJob/tidy")


@pytest.mark.parametrize("expression", ["*/7 * * * *", "30 2 * * *", "15 */3 * * 1,3"])
def test_every_time_is_due_once_through_a_year_of_set_clocks(expression: str) -> None:
    schedule = Schedule(expression, "America/New_York")
    moment, end = at("2026-03-01 00:00:00"), at("2026-11-10 00:00:00")
    while moment < end:
        following = next_after(schedule, moment)
        assert following > moment
        assert latest_due(schedule, moment, following) == following
        moment = following
