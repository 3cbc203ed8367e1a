"""The state of tumbling and sliding windows: the same bounds for all keys.

    size 40, every 30       0    10   20   30   40   50   60   70
                            [         w0        )
                                           [         w1        )
                                                          [       ...
    stretches               |       w0     |w0,1|   w1    |w1,2|

Between two bounds, all changes go into the same windows. So `add` compares the time with the bounds of the
stretch that the last change was in, and has nothing else to compute for most of them.

A bucket keeps one window of all keys: an accumulator for each key, and, for checkpoints, the first change
of each reading of a shard. Buckets are found by their end. Closing one drops two dicts, however many keys
are in it, and looks at none of the others.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Hashable
from math import inf
from typing import Generic, TypeVar

from rxddbstream.model.times import microseconds, utc
from rxddbstream.windows.base import NOTHING, TAKEN, Closed, Took, WindowResult, Windows
from rxddbstream.windows.folds import Fold

K = TypeVar("K")
T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")


class _Bucket(Generic[K, T, A]):
    """One window of all keys.

    Attributes:
        values: what has been folded, by key, in order of the first arrival.
        firsts: the first change of each reading, or None if a later window keeps it.
    """

    __slots__ = ("firsts", "values")

    def __init__(self, fold: Fold[T, A, R]) -> None:
        self.values: defaultdict[K, A] = defaultdict(fold.seed)
        self.firsts: dict[Hashable, T | None] = {}


class AlignedWindows(Windows[K, T, R], Generic[K, T, A, R]):
    """The open tumbling or sliding windows of one operator; sizes are in microseconds.

    Args:
        size: of a window.
        every: from one window's start to the next.
        offset: of the windows' starts from the epoch.
        lateness: how long a window stays open after its end.
    """

    __slots__ = (
        "_buckets",
        "_due",
        "_every",
        "_fold",
        "_from",
        "_known",
        "_lateness",
        "_numbers",
        "_offset",
        "_resumed",
        "_size",
        "_step",
        "_stretch",
        "_to",
        "_values",
        "_watermark",
    )

    def __init__(self, fold: Fold[T, A, R], *, size: int, every: int, offset: int, lateness: int) -> None:
        self._fold = fold
        self._step = fold.step
        self._size = size
        self._every = every
        self._offset = offset
        self._lateness = lateness
        self._watermark = self._resumed = -inf
        self._buckets: dict[int, _Bucket[K, T, A]] = {}  # by the window's number, counted from the epoch
        self._numbers: list[int] = []  # of the buckets, as a heap
        self._due = inf  # when the first of them closes
        self._from = self._to = inf
        self._stretch: list[_Bucket[K, T, A]] = []
        self._values: list[defaultdict[K, A]] = []  # of the stretch's buckets
        self._known: dict[Hashable, T | None] = {}  # the readings that all of them have

    def add(self, key: K, time: float, item: T, reading: Hashable) -> Took:
        """Put a change into its windows."""
        if not self._from <= time < self._to and (missed := self._enter_stretch(time)):
            return missed
        step = self._step
        for values in self._values:
            values[key] = step(values[key], item)
        if reading in self._known:
            return TAKEN
        return self._keep(item, reading)

    def advance(self, watermark: float) -> Closed[K, T, R]:
        """Close what the watermark has passed."""
        if watermark > self._watermark:
            self._watermark = watermark
        if watermark < self._due or not self._buckets:
            return NOTHING
        self._leave_stretch()
        results: list[WindowResult[K, R]] = []
        release: list[T] = []
        result, numbers = self._fold.result, self._numbers
        while numbers and watermark >= self._due:
            number = heapq.heappop(numbers)
            self._due = self._due_of(numbers[0]) if numbers else inf
            bucket = self._buckets.pop(number)
            start, end = utc(self._start_of(number)), utc(self._start_of(number) + self._size)
            results += [WindowResult(key, start, end, result(value)) for key, value in bucket.values.items()]
            release += [item for item in bucket.firsts.values() if item is not None]
        return Closed(results, release)

    def held(self) -> list[T]:
        """The changes that are held for windows that are open."""
        held = (item for bucket in self._buckets.values() for item in bucket.firsts.values())
        return [item for item in held if item is not None]

    def resumed_at(self, watermark: float) -> None:
        """Go on after a restart: what closed at this watermark was emitted by an earlier run."""
        self._resumed = watermark
        self._watermark = max(self._watermark, watermark)

    def _enter_stretch(self, time: float) -> Took:
        """Look up the windows of this time, and open those that are missing."""
        at = microseconds(time)
        last = (at - self._offset) // self._every
        first = (at - self._offset - self._size) // self._every + 1
        if self._watermark >= (due := self._due_of(last)):  # the last one closes last
            return Took.REPLAYED if due <= self._resumed else Took.LATE
        self._stretch = [
            self._opened(number)
            for number in range(first, last + 1)
            if self._watermark < self._due_of(number)
        ]
        self._values = [bucket.values for bucket in self._stretch]
        # Of one bucket, that is all that is to be known; of several, it is gathered by `_keep`.
        self._known = self._stretch[0].firsts if len(self._stretch) == 1 else {}
        start, end = self._start_of(last), self._start_of(first) + self._size
        self._from = max(start, end - self._every) / 1e6
        self._to = min(start + self._every, end) / 1e6
        return TAKEN

    def _leave_stretch(self) -> None:
        self._from = self._to = inf
        self._stretch, self._values, self._known = [], [], {}

    def _opened(self, number: int) -> _Bucket[K, T, A]:
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = _Bucket(self._fold)
            heapq.heappush(self._numbers, number)
            self._due = self._due_of(self._numbers[0])
        return bucket

    def _keep(self, item: T, reading: Hashable) -> Took:
        """The first change of its reading in some of its windows: the last one of those keeps it for all."""
        # From the last window back: it closes last, and one hold until then serves them all. An earlier
        # window gets None, which says that the reading is known there and nothing is released with it.
        took = TAKEN
        for bucket in reversed(self._stretch):
            if reading not in bucket.firsts:
                bucket.firsts[reading] = None if took else item
                took = Took.HOLD
        self._known.setdefault(reading, None)
        return took

    def _start_of(self, number: int) -> int:
        return number * self._every + self._offset

    def _due_of(self, number: int) -> float:
        return (self._start_of(number) + self._size + self._lateness) / 1e6
