"""Counts by key and minute: with `fold_window`, and as one composes them of RxPY's own operators.

The changes are made, and their key and time looked at, before anything is measured. They come as a stream's
do: a page of one shard after a page of another, and behind each the watermark.
"""

from __future__ import annotations

import gc
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeAlias

import reactivex.operators as ops
from reactivex import GroupedObservable, Observable, Subject, abc
from reactivex.disposable import Disposable

import rxddbstream as rxd
from benchmarks.backlog import MINUTE, Backlog, key_of
from benchmarks.job import Job
from benchmarks.measuring import Meter, Result
from rxddbstream import operators as dops
from rxddbstream.model.origin import Origin
from rxddbstream.model.position import TrimHorizon
from rxddbstream.model.shard import Shard
from rxddbstream.protocol.beginning import Beginning
from rxddbstream.protocol.lineage import Ready
from rxddbstream.reading.progress import Progress
from rxddbstream.reading.statistics import Counts

PAGE = 500

Changes: TypeAlias = Observable[rxd.Change]
Group: TypeAlias = "GroupedObservable[tuple[Any, int], rxd.Change]"
Found: TypeAlias = "dict[tuple[Any, int], int]"
"""The counts, by key and minute."""


def do(job: Job) -> Result:
    """Do the task; the changes were made over `job.seconds`."""
    backlog = Backlog(
        job.records,
        ends_at=time.time() // MINUTE * MINUTE,
        seconds=job.seconds,
        shards=job.shards,
        spread=1.0,
        pages=(PAGE, PAGE),
    )
    progress = Progress(Counts())
    pages = list(_pages(backlog, progress))
    gc.collect()
    gc.freeze()  # so that no collection looks through the changes while something is measured
    meter = Meter()
    meter.start()
    found = _TASKS[job.task](_source(pages, backlog, progress), progress)
    meter.stop(job.records)
    counts = found()
    meter.result.records = sum(counts.values())
    meter.result.extra["windows"] = len(counts)
    return meter.result


def _pages(backlog: Backlog, progress: Progress) -> Iterator[list[rxd.Change]]:
    origins = {shard.id: Origin(progress) for shard in backlog.shards}
    for begin in range(0, backlog.records, PAGE):
        for shard in backlog.shards:
            records = backlog.records_of(shard, begin, min(begin + PAGE, shard.records))
            if records:
                changes = [rxd.Change(record, shard.id, origins[shard.id]) for record in records]
                for change in changes:
                    _window_of(change)
                yield changes


def _source(pages: list[list[rxd.Change]], backlog: Backlog, progress: Progress) -> Changes:
    def subscribe(
        observer: abc.ObserverBase[rxd.Change], _: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        shards = [Ready(Shard(shard.id), TrimHorizon()) for shard in backlog.shards]
        now = datetime.now(UTC)
        progress.opened(shards, Beginning(TrimHorizon(), now, now), now)
        on_next = observer.on_next
        for page in pages:
            for change in page:
                on_next(change)
            progress.read(page[0].shard_id, page[-1].created_at, 0.0)
        observer.on_completed()
        return Disposable()

    return Observable(subscribe)


def _window_of(change: rxd.Change) -> tuple[Any, int]:
    return key_of(change), int(change.timestamp // MINUTE)


def _fold_window(source: Changes, _: Progress) -> Callable[[], Found]:
    results: list[dops.WindowResult[Any, int]] = []
    windows = dops.fold_window(dops.tumbling(MINUTE), key=key_of, fold=dops.count())
    source.pipe(windows).subscribe(results.append)
    return lambda: {(each.key, int(each.start.timestamp() // MINUTE)): each.value for each in results}


def _group_by_until(source: Changes, progress: Progress) -> Callable[[], Found]:
    """A group for each window, until the watermark has passed its end."""
    ends: defaultdict[int, Subject[None]] = defaultdict(Subject)
    results: list[tuple[tuple[Any, int], int]] = []

    def advance(watermark: float) -> None:
        for minute in [minute for minute in ends if (minute + 1) * MINUTE <= watermark]:
            ends.pop(minute).on_next(None)

    def end_of(group: Group) -> Observable[None]:
        return ends[group.key[1]]

    def counted(group: Group) -> Observable[Any]:
        return group.pipe(ops.count(), ops.map(lambda number: (group.key, number)))

    progress.listen(advance, lambda: None)
    groups = ops.group_by_until(_window_of, None, end_of)
    source.pipe(groups, ops.flat_map(counted)).subscribe(results.append)
    return lambda: dict(results)


def _scan(source: Changes, _: Progress) -> Callable[[], Found]:
    """A dict of counts, which keeps them all, and does not say when one is final."""
    counts: Counter[tuple[Any, int]] = Counter()

    def step(counts: Counter[tuple[Any, int]], change: rxd.Change) -> Counter[tuple[Any, int]]:
        counts[_window_of(change)] += 1
        return counts

    source.pipe(ops.scan(step, counts)).subscribe(lambda _: None)
    return lambda: counts


_TASKS: dict[str, Callable[[Changes, Progress], Callable[[], Found]]] = {
    "fold_window": _fold_window,
    "group_by_until": _group_by_until,
    "scan": _scan,
}
