"""When a CronJob is due, in its own time zone.

The five fields are read as cron reads them; what is due in an hour that is skipped when clocks are
set forward is due at the end of it, and in one that comes twice the first time only.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from lapdev.cluster.manifests import Schedule
from lapdev.errors import ConfigError

ANY_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def check_schedule(schedule: Schedule, where: str) -> None:
    """Raises ConfigError when it names no time that ever comes, like February 30."""
    try:
        next_after(schedule, ANY_DAY)
    except (CronSimError, StopIteration) as exc:
        raise ConfigError(
            f"{where}: the schedule {schedule.expression!r} never comes",
            hint='write five fields (minute, hour, day, month, weekday), like "*/5 * * * *"',
        ) from exc


def next_after(schedule: Schedule, moment: datetime) -> datetime:
    """The first time after `moment`."""
    times = CronSim(schedule.expression, moment.astimezone(_zone(schedule)))
    return next(found for time in times if (found := time.astimezone(UTC)) > moment)


def latest_due(schedule: Schedule, since: datetime, until: datetime) -> datetime | None:
    """The last time after `since` and not after `until`; None when there was none."""
    # Backwards: after a long sleep there may be many, and only the last is wanted.
    later = (until + timedelta(seconds=1)).replace(microsecond=0).astimezone(_zone(schedule))
    for time in CronSim(schedule.expression, later, reverse=True):
        due = time.astimezone(UTC)
        if due <= until:
            return due if due > since else None
    return None


def _zone(schedule: Schedule) -> tzinfo:
    return ZoneInfo(schedule.timezone) if schedule.timezone else UTC
