"""Times as whole microseconds since the epoch, for what must be compared without an error of rounding."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf
from typing import TypeAlias

Seconds: TypeAlias = float | timedelta
"""How long, as people may give it: seconds, or a timedelta."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_SECOND, LAST_SECOND = -62_135_596_800.0, 253_402_300_799.0
"""Of the calendar, in seconds since the epoch; times in milliseconds are beyond it."""

SETTLING = 2.0
"""How many seconds before an empty answer all is known to have been read.

One, because creation times are rounded down to whole seconds; and one for a change's way into the stream.
"""

END_OF_TIME = 1 << 80
"""In microseconds, later than any."""


def microseconds(time: float) -> int:
    """The time in whole microseconds, rounded down, where each stands for the float that is nearest to it.

    >>> microseconds(1700000000.123), microseconds(0.3), microseconds(0.1 + 0.2)
    (1700000000123000, 300000, 300000)
    """
    if time in (inf, -inf):
        return END_OF_TIME if time > 0 else -END_OF_TIME
    nearest = round(time * 1e6)
    return nearest if nearest / 1e6 <= time else nearest - 1


def utc(microseconds: int) -> datetime:
    """The time as a datetime.

    >>> utc(1_500_000)
    datetime.datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=datetime.timezone.utc)
    """
    return EPOCH + timedelta(microseconds=microseconds)
