"""Where in a shard to begin: LATEST, TRIM_HORIZON, at a time, after a sequence number.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetShardIterator.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from rxddbstream.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Latest:
    """After the newest change at the moment of subscribing."""


@dataclass(frozen=True, slots=True)
class TrimHorizon:
    """The oldest change that the service still has."""


@dataclass(frozen=True, slots=True)
class AtTime:
    """The first change made at `time` (aware) or later."""

    time: datetime

    def includes(self, created_at: datetime) -> bool:
        """Whether a change made at `created_at` belongs to what begins here.

        Services round these times down, to seconds or (DynamoDB Local) to minutes. A rounded time
        stands for its whole unit: reading one change too many is better than losing one.

        >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        >>> AtTime(noon + timedelta(seconds=0.5)).includes(noon)
        True
        """
        start = self.time
        if not created_at.microsecond:
            start = start.replace(microsecond=0)
            if not created_at.second:
                start = start.replace(second=0)
        return created_at >= start


@dataclass(frozen=True, slots=True)
class After:
    """The change that follows `sequence_number`."""

    sequence_number: str


Position: TypeAlias = Latest | TrimHorizon | AtTime | After

Start: TypeAlias = str | datetime | timedelta
"""What people write: `"latest"`, `"trim_horizon"`, a point in time, or how long ago."""

CLOCKS_DIFFER = timedelta(minutes=5)
"""How far ours may be from the service's clock: it refuses a signature that is further off.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
"""

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def resolve(start: Start, now: datetime, tolerance: timedelta = timedelta(0)) -> Position:
    """Turn `start` into a position.

    Args:
        start: `"latest"`, `"trim_horizon"` (or `"trim-horizon"`), an aware datetime, a timedelta,
            or text: an ISO 8601 time with its offset, or a duration such as `"15m"` or `"2h30m"`.
        now: the service's time, an aware datetime; what is relative goes back from there.
        tolerance: a time that is ahead of that by no more than this means `now`: whoever wrote it read
            another clock.

    Raises:
        ConfigurationError: it is none of these, or lies in the future.

    >>> resolve("15m", now=datetime(2026, 1, 1, 12, tzinfo=UTC))
    AtTime(time=datetime.datetime(2026, 1, 1, 11, 45, tzinfo=datetime.timezone.utc))
    """
    if isinstance(start, str):
        name = start.strip().lower().replace("-", "_")
        if name == "latest":
            return Latest()
        if name == "trim_horizon":
            return TrimHorizon()
    try:
        start = _parse(start.strip()) if isinstance(start, str) else start
        return _resolve_time(now - start if isinstance(start, timedelta) else start, now, tolerance)
    except OverflowError:
        raise ConfigurationError(f"start={start!r} lies beyond the calendar") from None


def _resolve_time(start: object, now: datetime, tolerance: timedelta) -> AtTime:
    if not isinstance(start, datetime):
        raise ConfigurationError(
            f"start={start!r} is not a position: use 'latest', 'trim_horizon', an aware datetime "
            "or a timedelta"
        )
    if start.tzinfo is None:
        raise ConfigurationError(
            f"start={start.isoformat()} has no time zone: write it with its offset, "
            "or as datetime(..., tzinfo=timezone.utc)"
        )
    if start - now > tolerance:
        raise ConfigurationError(f"start={start.isoformat()} lies in the future")
    return AtTime(min(start, now).astimezone(UTC))


def duration(text: str) -> timedelta | None:
    """The length of time that a text such as `"15m"` or `"2h30m"` names; None when it names none.

    Raises:
        OverflowError: it is longer than the calendar.

    >>> duration("2h30m")
    datetime.timedelta(seconds=9000)
    """
    if not _DURATION.fullmatch(text):
        return None
    parts = _PART.findall(text)
    return sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())


def _parse(text: str) -> datetime | timedelta:
    length = duration(text)
    if length is not None:
        return length
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"start={text!r} is not a position: use latest, trim-horizon, a time such as "
            "2026-01-31T12:00:00Z, or how long ago, such as 15m or 2h30m"
        ) from None
