"""What every kind of window has in common: its results, what becomes of a change, and its state.

Times come in as seconds since the epoch. Inside, they are whole microseconds, rounded down: those add up
without an error, and are what a datetime can say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, Generic, NamedTuple, TypeVar

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")


class WindowResult(NamedTuple, Generic[K, R]):
    """The value of a closed window.

    Attributes:
        key: what its changes were grouped by.
        start: when it begins; an aware datetime in UTC.
        end: when it ends; a change at this very time is in the next window.
        value: what the fold made of its changes.
    """

    key: K
    start: datetime
    end: datetime
    value: R


class Took(IntEnum):
    """What became of a change. In the most frequent case it is false, and nothing else has to be done."""

    TAKEN = 0
    """An open window took it."""

    HOLD = 1
    """An open window took it, and keeps it until the window has been emitted: hold it now."""

    LATE = 2
    """All of its windows have closed."""

    REPLAYED = 3
    """All of its windows were emitted by an earlier run."""


TAKEN = Took.TAKEN  # a member is looked up slowly, and this one for each change


class Closed(NamedTuple, Generic[K, T, R]):
    """Windows that have closed.

    Attributes:
        results: in order of their end, then their start, then their first change's arrival.
        release: the changes to release, in any order, once all of `results` have been emitted.
    """

    results: Sequence[WindowResult[K, R]] = ()
    release: Sequence[T] = ()


NOTHING: Closed[Any, Any, Any] = Closed()


class Windows(ABC, Generic[K, T, R]):
    """The open windows of one operator. Callers take turns."""

    __slots__ = ()

    @abstractmethod
    def add(self, key: K, time: float, item: T, reading: Hashable) -> Took:
        """Put a change into its windows.

        Args:
            key: whose windows.
            time: when the change was made.
            item: what is folded, and comes back in `Closed.release` if it is to be held: the change.
            reading: which reading of a shard it came from. A checkpoint lies before the oldest change that is
                held of it, so one for each is enough. Not the shard's ID: two readings can have the same one.
        """

    @abstractmethod
    def advance(self, watermark: float) -> Closed[K, T, R]:
        """Close what the watermark has passed. At the stream's end, it is `math.inf`."""

    @abstractmethod
    def held(self) -> Sequence[T]:
        """The changes that are held for windows that are open."""

    @abstractmethod
    def resumed_at(self, watermark: float) -> None:
        """Go on after a restart: what closed at this watermark was emitted by an earlier run."""
