"""A day's backlog in windows of a minute: nothing comes late, and little is open at once."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from math import inf

import pytest
from benchmarks.backlog import DAY, MINUTE, Backlog, Watched, key_of
from benchmarks.records import ARN
from reactivex.testing import TestScheduler

import rxddbstream as rxd
import rxddbstream.reading.progress
from rxddbstream import operators as dops

NOW = 1_767_225_600.0
RECORDS = 100_000
RESOLUTION = 1.0  # seconds, of the changes' times


@pytest.fixture
def scheduler():
    scheduler = TestScheduler()
    scheduler.advance_to(NOW)
    return scheduler


def read(backlog, scheduler, on_next):
    """Read it to its end in windows of a minute; how many changes were late, and windows open at most."""
    stream = rxd.changes(ARN, client=backlog, start="trim_horizon", follow=False, scheduler=scheduler)
    watched, over = Watched(), []
    windows = dops.fold_window(watched, key=key_of, fold=dops.count())
    subscription = stream.pipe(windows).subscribe(
        on_next, over.append, on_completed=lambda: over.append("completed")
    )
    with subscription:
        scheduler.advance_by(60)
    assert over == ["completed"]
    return stream.statistics().late, watched.most_open


def expected(backlog):
    """The counts by brute force."""
    return Counter(
        (backlog.key_of(shard, number), backlog.time_of(shard, number) // MINUTE * MINUTE)
        for shard in backlog.shards
        for number in range(shard.records)
    )


def test_a_backlog_is_counted_with_no_change_late_and_few_windows_open(scheduler):
    backlog = Backlog(RECORDS, ends_at=NOW, seconds=DAY, shards=32, pages=(4, 40))
    results = []
    late, most_open = read(backlog, scheduler, results.append)

    assert late == 0
    found = {(result.key, result.start.timestamp()): result.value for result in results}
    assert len(found) == len(results)
    assert found == expected(backlog)
    assert backlog.furthest <= MINUTE + RESOLUTION
    in_hand = sum(2 * shard.page for shard in backlog.shards)
    assert most_open <= in_hand + RECORDS * 2 * MINUTE / DAY


def test_without_waiting_for_each_other_the_shards_would_open_nearly_all_windows(scheduler, monkeypatch):
    monkeypatch.setattr(rxddbstream.reading.progress, "ALIGNMENT", inf)
    backlog = Backlog(RECORDS // 5, ends_at=NOW, seconds=DAY, shards=32, pages=(4, 40))
    late, most_open = read(backlog, scheduler, lambda _: None)

    assert late == 0
    assert max(backlog.ahead.values()) > 0.9 * DAY
    assert most_open > RECORDS // 5 / 3


def test_what_was_counted_is_freed(scheduler):
    backlog = Backlog(30_000, ends_at=NOW, seconds=3600, shards=4, spread=1, keys=30_000, pages=(50, 50))
    sizes = []

    def take(result):
        if result.key.endswith("7"):  # some of them are enough
            sizes.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        read(backlog, scheduler, take)
    finally:
        tracemalloc.stop()

    # 500 keys a minute: the tenth minute and the hour's end look the same.
    early, whole = max(sizes[: len(sizes) // 6]), max(sizes)
    assert len(sizes) == 3000
    assert whole - early < 200_000
