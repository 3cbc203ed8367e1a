"""How fast a stream is read, in all and shard by shard: what `rxddbstream top` shows.

Nothing here asks for the time: each sample is taken at a time that is given.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from rxddbstream.model.change import Change
from rxddbstream.model.events import Event, ShardClosed, ShardOpened
from rxddbstream.reading.statistics import Statistics
from rxddbstream.views.price import price, price_a_month

WINDOW = 10.0
"""A rate is that of so many seconds."""

LINGERING = 10.0
"""How many seconds a shard is shown after it was read to its end."""

HISTORY = 300.0
"""How many seconds the sparkline goes back."""

Sort: TypeAlias = Literal["rate", "lag"]


class ShardRow(NamedTuple):
    """A shard, as it is shown.

    Attributes:
        id: the shard's ID.
        state: `"open"`; `"closed"`, when it takes no more changes, and is being read; `"read"`, to its end.
        changes: how many came.
        rate: how many a second, of late.
        lag: how many seconds the last one was behind, see `Statistics`; None when it is not being read.
    """

    id: str
    state: str
    changes: int
    rate: float
    lag: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How the reading goes at one time.

    Attributes:
        running: seconds since the first sample.
        changes: how many came.
        rate: how many a second, of late.
        calls_rate: GetRecords calls a second, of late.
        empty_share: which part of all calls was answered without a record, from 0 to 1.
        retries: calls that were made again.
        watermark: up to when everything was read, if that is known.
        behind: how many seconds that is ago.
        price: dollars so far.
        price_a_month: dollars in a month at the present pace.
        history: changes a second, sample by sample.
        history_began: the number of the first of those.
        history_seconds: how long that is ago.
        shards: what is known of each, the first ones first.
    """

    running: float
    changes: int
    rate: float
    calls_rate: float
    empty_share: float
    retries: int
    watermark: datetime | None
    behind: float
    price: float
    price_a_month: float
    history: tuple[float, ...]
    history_began: int
    history_seconds: float
    shards: tuple[ShardRow, ...]


class _Sample(NamedTuple):
    now: float
    changes: int
    calls: int
    counts: Mapping[str, int]


class Rates:
    """Counts changes, and tells how many a second there are.

    `count` and `told` are called by whoever reads, `sample` by whoever shows.

    Args:
        sort: which shards come first: those with the most changes a second, or those furthest behind.
        lingering: how many seconds a shard is known after it was read to its end.

    >>> from datetime import UTC
    >>> rates = Rates()
    >>> for second in range(3):
    ...     for _ in range(second * 5):
    ...         rates.count(Change({}, "shard-1"))
    ...     snapshot = rates.sample(float(second), datetime.now(UTC), Statistics(lag={"shard-1": 0.5}))
    >>> snapshot.rate, snapshot.history, snapshot.shards[0]
    (7.5, (5.0, 10.0), ShardRow(id='shard-1', state='open', changes=15, rate=7.5, lag=0.5))
    """

    def __init__(self, sort: Sort = "rate", lingering: float = LINGERING) -> None:
        self._sort = sort
        self._lingering = lingering
        self._changes = 0
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()  # guards the two that follow
        self._closed: set[str] = set()  # by the listing
        self._ended: dict[str, float | None] = {}  # at which sample that was seen
        self._samples: deque[_Sample] = deque()
        self._history: deque[tuple[float, float]] = deque()
        self._history_began = 0
        self._began: float | None = None

    def count(self, change: Change) -> None:
        """A change has come; of one thread at a time."""
        self._changes += 1
        counts = self._counts
        counts[change.shard_id] = counts.get(change.shard_id, 0) + 1

    def told(self, event: Event) -> None:
        """What happens beside the data."""
        match event:
            case ShardOpened(shard):
                with self._lock:
                    self._ended.pop(shard.id, None)
                    if shard.is_closed:
                        self._closed.add(shard.id)
            case ShardClosed(shard):
                with self._lock:
                    self._ended[shard.id] = None

    def sample(self, now: float, time: datetime, statistics: Statistics) -> Snapshot:
        """Take a sample.

        Args:
            now: seconds that never go back.
            time: what the clock says.
            statistics: of the stream.
        """
        self._forget(now)
        if self._began is None:
            self._began = now
        newest = _Sample(now, self._changes, statistics.calls, self._counts.copy())
        self._remember(newest)
        oldest = self._samples[0]
        per_second = _rate(newest.now - oldest.now)
        calls_rate = per_second(newest.calls - oldest.calls)
        watermark, calls = statistics.watermark, statistics.calls
        return Snapshot(
            running=now - self._began,
            changes=newest.changes,
            rate=per_second(newest.changes - oldest.changes),
            calls_rate=calls_rate,
            empty_share=statistics.empty_calls / calls if calls else 0.0,
            retries=statistics.retries,
            watermark=watermark,
            behind=max(0.0, (time - watermark).total_seconds()) if watermark else 0.0,
            price=price(calls),
            price_a_month=price_a_month(calls_rate),
            history=tuple(rate for _, rate in self._history),
            history_began=self._history_began,
            history_seconds=now - self._history[0][0] if self._history else 0.0,
            shards=self._rows(newest.counts, oldest.counts, per_second, statistics.lag),
        )

    def _remember(self, newest: _Sample) -> None:
        samples, history = self._samples, self._history
        if samples and newest.now > samples[-1].now:
            last = samples[-1]
            history.append((last.now, (newest.changes - last.changes) / (newest.now - last.now)))
        while history and newest.now - history[0][0] > HISTORY:
            history.popleft()
            self._history_began += 1
        samples.append(newest)
        while len(samples) > 2 and newest.now - samples[1].now >= WINDOW:
            samples.popleft()

    def _forget(self, now: float) -> None:
        """Let go of what was read to its end a while ago."""
        with self._lock:
            for shard_id, seen in list(self._ended.items()):
                if seen is None:
                    self._ended[shard_id] = now
                elif now - seen > self._lingering:
                    del self._ended[shard_id]
                    self._closed.discard(shard_id)
                    self._counts.pop(shard_id, None)

    def _rows(
        self,
        counts: Mapping[str, int],
        before: Mapping[str, int],
        per_second: Callable[[int], float],
        lag: Mapping[str, float],
    ) -> tuple[ShardRow, ...]:
        with self._lock:
            closed, ended = self._closed.copy(), self._ended.keys() | set()
        rows = [
            ShardRow(
                id=shard_id,
                state="read" if shard_id in ended else "closed" if shard_id in closed else "open",
                changes=counts.get(shard_id, 0),
                rate=per_second(counts.get(shard_id, 0) - before.get(shard_id, 0)),
                lag=None if shard_id in ended or shard_id not in lag else max(0.0, lag[shard_id]),
            )
            for shard_id in lag.keys() | counts.keys() | ended
        ]
        return tuple(sorted(rows, key=_by_lag if self._sort == "lag" else _by_rate))


def _by_rate(row: ShardRow) -> tuple[object, ...]:
    return row.state == "read", -row.rate, -(row.lag or 0.0), -row.changes, row.id


def _by_lag(row: ShardRow) -> tuple[object, ...]:
    return row.state == "read", -(row.lag or 0.0), -row.rate, -row.changes, row.id


def _rate(seconds: float) -> Callable[[int], float]:
    return lambda count: count / seconds if seconds > 0 else 0.0
