"""Event-time windows: which windows a change falls into.

    tumbling(20)               [   0   )[   20  )[   40  )        one after the other
    sliding(30, every=20)      [     0     )                      one every 20 s, 30 s long
                                        [     20    )
    session(10)                  [  x-x--x   )       [x   )       as long as less than 10 s lie between

Three things are apart. A *windower*, made here, says which windows there are. A *fold* says what becomes of
their changes: see `folds.py`. And `windower.windows(fold)` is the state of one operator: it takes
in changes, and closes windows as the watermark passes their end.

Windows are half-open: a change at the end of one is in the next. They are aligned to the epoch in UTC, which
knows no daylight saving: each day has 24 hours. Sizes are seconds or a timedelta, in whole microseconds.

A window closes when the watermark is `lateness` past its end. A change that comes after all of its windows
have closed is late. While some of them are open, it counts in those.

>>> from rxddbstream.windows.folds import count
>>> windows = tumbling(60).windows(count())
>>> windows.add("customer-1", 30.0, "a change", "shard-1").name
'HOLD'
>>> windows.add("customer-1", 40.0, "another", "shard-1").name
'TAKEN'
>>> closed = windows.advance(60.0)
>>> [(result.key, result.end.minute, result.value) for result in closed.results], closed.release
([('customer-1', 1, 2)], ['a change'])
>>> windows.add("customer-1", 50.0, "a third", "shard-1").name
'LATE'
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from rxddbstream.errors import ConfigurationError
from rxddbstream.model.times import Seconds
from rxddbstream.windows.aligned import AlignedWindows
from rxddbstream.windows.base import Windows
from rxddbstream.windows.folds import Fold
from rxddbstream.windows.sessions import SessionWindows

T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")


class Windower(ABC):
    """Says which windows there are; made by `tumbling`, `sliding` or `session`."""

    __slots__ = ()

    @property
    @abstractmethod
    def span(self) -> float:
        """Seconds from a window's start to its end; of a session, `max`, or at least `gap`."""

    @abstractmethod
    def windows(self, fold: Fold[T, A, R], *, lateness: Seconds = 0.0) -> Windows[Any, T, R]:
        """The state of one operator: no window is open yet.

        Args:
            fold: what becomes of a window's changes.
            lateness: how long windows stay open after the watermark has passed their end.
        """


@dataclass(frozen=True, slots=True, repr=False)
class Tumbling(Windower):
    """Windows of one size, one after the other. See `tumbling`."""

    size: float
    offset: float = 0.0

    @property
    def span(self) -> float:
        """Seconds from a window's start to its end."""
        return self.size

    def windows(self, fold: Fold[T, A, R], *, lateness: Seconds = 0.0) -> Windows[Any, T, R]:
        """The state of one operator."""
        size = _micros(self.size)
        return AlignedWindows(
            fold, size=size, every=size, offset=_micros(self.offset), lateness=_lateness(lateness)
        )

    def __repr__(self) -> str:
        return f"tumbling({_text(self.size)}{_option('offset', self.offset)})"


@dataclass(frozen=True, slots=True, repr=False)
class Sliding(Windower):
    """Windows of one size that overlap. See `sliding`."""

    size: float
    every: float
    offset: float = 0.0

    @property
    def span(self) -> float:
        """Seconds from a window's start to its end."""
        return self.size

    def windows(self, fold: Fold[T, A, R], *, lateness: Seconds = 0.0) -> Windows[Any, T, R]:
        """The state of one operator."""
        return AlignedWindows(
            fold,
            size=_micros(self.size),
            every=_micros(self.every),
            offset=_micros(self.offset),
            lateness=_lateness(lateness),
        )

    def __repr__(self) -> str:
        return f"sliding({_text(self.size)}, every={_text(self.every)}{_option('offset', self.offset)})"


@dataclass(frozen=True, slots=True, repr=False)
class Session(Windower):
    """Windows between pauses. See `session`."""

    gap: float
    max: float | None = None

    @property
    def span(self) -> float:
        """Seconds from a session's start to its end: at most, or at least where there is no `max`."""
        return self.gap if self.max is None else self.max

    def windows(self, fold: Fold[T, A, R], *, lateness: Seconds = 0.0) -> Windows[Any, T, R]:
        """The state of one operator."""
        longest = None if self.max is None else _micros(self.max)
        return SessionWindows(fold, gap=_micros(self.gap), longest=longest, lateness=_lateness(lateness))

    def __repr__(self) -> str:
        return f"session({_text(self.gap)}{_option('max', self.max)})"


def tumbling(size: Seconds, offset: Seconds = 0.0) -> Tumbling:
    """Windows of one size, one after the other: each change is in one.

    Args:
        size: of a window.
        offset: where they begin, from the epoch; may be negative. A day from midnight in UTC+2 on is
            `tumbling(timedelta(days=1), offset=timedelta(hours=-2))`.

    >>> tumbling(timedelta(minutes=1))
    tumbling(60)
    """
    checked = _size("tumbling: size", size)
    return Tumbling(checked, _offset("tumbling: offset", offset, checked))


def sliding(size: Seconds, every: Seconds, offset: Seconds = 0.0) -> Sliding:
    """Windows of one size, of which one begins every so often: a change is in `size / every` of them.

    Args:
        size: of a window.
        every: from the start of one to the start of the next, at most `size`.
        offset: where they begin, from the epoch.

    >>> sliding(60, every=10)
    sliding(60, every=10)
    """
    checked, step = _size("sliding: size", size), _size("sliding: every", every)
    if step > checked:
        raise ConfigurationError(
            f"sliding: every={_text(step)} must be at most size={_text(checked)}, "
            f"or changes between two windows would be in neither"
        )
    return Sliding(checked, step, _offset("sliding: offset", offset, step))


def session(gap: Seconds, max: Seconds | None = None) -> Session:
    """Windows of one key's changes with less than `gap` between them: from the first to the last plus gap.

    Args:
        gap: how long a pause is that ends a session.
        max: how long a session is at most. One that goes on longer ends `max` after its first change; the
            next one begins with the first change from then on. Without it, a key that never pauses has a
            session that never ends, and no checkpoint is written after its first change.

    >>> session(30, max=timedelta(hours=1))
    session(30, max=3600)
    """
    return Session(_size("session: gap", gap), None if max is None else _size("session: max", max))


def _seconds(value: Seconds) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    return round(seconds, 6)


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)


def _size(name: str, value: Seconds) -> float:
    seconds = _seconds(value)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigurationError(
            f"{name} must be a positive number of seconds, or a timedelta, not {value!r}"
        )
    return seconds


def _offset(name: str, value: Seconds, period: float) -> float:
    seconds = _seconds(value)
    if not math.isfinite(seconds):
        raise ConfigurationError(f"{name} must be a number of seconds, or a timedelta, not {value!r}")
    return _micros(seconds) % _micros(period) / 1e6  # the same windows, whichever of them is meant


def _lateness(value: Seconds) -> int:
    seconds = _seconds(value)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ConfigurationError(
            f"lateness must be 0 or more seconds, or a timedelta, not {value!r}; "
            f"to keep windows open for longer, make it larger"
        )
    return _micros(seconds)


def _text(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds.is_integer() else repr(seconds)


def _option(name: str, seconds: float | None) -> str:
    return f", {name}={_text(seconds)}" if seconds else ""
