"""Times are UTC and carry no zone."""

from datetime import UTC, datetime, timedelta

from lapdev.store.tables import utc_now


def test_now_is_utc_without_a_zone() -> None:
    now = utc_now()
    assert now.tzinfo is None
    assert abs(datetime.now(UTC) - now.replace(tzinfo=UTC)) < timedelta(seconds=5)
