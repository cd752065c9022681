"""Times of day and quiet hours on the wall's clock, over changes to summer time and back.

Moments are aware; a zone of None is this machine's. A time that a change of the clock leaves out happens when the clock has
jumped over it, one that comes twice happens at the first of both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo

from backend.contracts.autonomy import DAYS, AtTime, QuietHours


def local(moment: datetime, zone: tzinfo | None) -> datetime:
    """The moment as the wall's clock shows it."""
    return moment.astimezone(zone)


def instant(day: date, time_of_day: str, zone: tzinfo | None) -> datetime:
    """When a day's clock shows a time ("20:15"), UTC."""
    hour, minute = minutes_of(time_of_day)
    shown = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    return shown.astimezone(UTC)


def minutes_of(time_of_day: str) -> tuple[int, int]:
    """Hour and minute."""
    hour, _, minute = time_of_day.partition(":")
    return int(hour), int(minute)


def latest(when: AtTime, moment: datetime, zone: tzinfo | None) -> tuple[str, datetime] | None:
    """The newest time of a trigger that is not in the future: a key that no other time has, and its moment."""
    today = local(moment, zone).date()
    found: list[tuple[datetime, str]] = []
    for back in range(8):
        day = today - timedelta(days=back)
        if when.days and DAYS[day.weekday()] not in when.days:
            continue
        for time_of_day in when.times:
            at = instant(day, time_of_day, zone)
            if at <= moment:
                found.append((at, f"{day.isoformat()} {time_of_day}"))
        if found:
            at, key = max(found)
            return key, at
    return None


def coming(when: AtTime, moment: datetime, zone: tzinfo | None) -> datetime:
    """The next time of a trigger after a moment."""
    today = local(moment, zone).date()
    found: list[datetime] = []
    for ahead in range(9):
        day = today + timedelta(days=ahead)
        if when.days and DAYS[day.weekday()] not in when.days:
            continue
        found += [
            at for time_of_day in when.times if (at := instant(day, time_of_day, zone)) > moment
        ]
        if found:
            return min(found)
    raise AssertionError("a week has all days")


def quiet_until(
    hours: Iterable[QuietHours], moment: datetime, zone: tzinfo | None
) -> datetime | None:
    """When the quiet hours end in which a moment lies; None when it lies in none."""
    today = local(moment, zone).date()
    ends: list[datetime] = []
    for each in hours:
        for back in (0, 1):
            day = today - timedelta(days=back)
            if each.days and DAYS[day.weekday()] not in each.days:
                continue
            is_over_midnight = minutes_of(each.until) < minutes_of(each.start)
            end = instant(day + timedelta(days=is_over_midnight), each.until, zone)
            if instant(day, each.start, zone) <= moment < end:
                ends.append(end)
    return max(ends, default=None)
