"""An empty page is not the tip: runs of them, up to the documented length, change nothing but the time."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given, settings
from reactivex.testing import TestScheduler
from support.reading import read

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.protocol.tip import EMPTY_PAGES_AT_END, EMPTY_PAGES_AT_TIP
from rxddbstream.testing import SimulatedStream

skews = st.sampled_from([None, timedelta(0), timedelta(minutes=-4), timedelta(minutes=4)])


def backlog(age: float, count: int = 20, **options) -> tuple[SimulatedStream, TestScheduler]:
    """A stream with so many changes, a second apart, the last one so many seconds old."""
    scheduler = TestScheduler()
    scheduler.advance_to(1_700_000_000.0)
    sim = SimulatedStream(scheduler=scheduler, **options)
    for number in range(count):
        sim.put(f"k{number % 5}", n=number)
        scheduler.advance_by(1)
    scheduler.advance_by(age)
    return sim, scheduler


@settings(max_examples=40, deadline=None)
@given(st.integers(0, EMPTY_PAGES_AT_END - 1), st.sampled_from([30.0, 3600.0]), skews)
def test_a_bounded_read_is_complete_behind_any_run(empty: int, age: float, ahead: timedelta | None) -> None:
    sim, scheduler = backlog(age, empty_pages=empty, ahead=ahead)
    reader = read(sim, scheduler, start="trim_horizon", follow=False)
    reader.advance(1)

    assert reader.completed
    assert reader.records == sim.records


def test_a_bounded_read_of_nothing_ends_at_once() -> None:
    sim, scheduler = backlog(0, count=0)
    reader = read(sim, scheduler, start="trim_horizon", follow=False)
    reader.advance(1)

    assert reader.completed
    assert sim.calls["GetRecords"] == EMPTY_PAGES_AT_END


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, EMPTY_PAGES_AT_TIP - 2),
    st.sampled_from([1000, 7]),
    st.sampled_from([60.0, 7200.0]),
    skews,
)
def test_windows_count_a_backlog_behind_any_run(
    empty: int, page_size: int, age: float, ahead: timedelta | None
) -> None:
    sim, scheduler = backlog(age, empty_pages=empty, page_size=page_size, ahead=ahead)
    stream = rxd.changes(sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon")
    counts, lags = [], []
    windows = dops.fold_window(dops.tumbling(10), fold=dops.count())
    with stream.pipe(windows).subscribe(counts.append):
        while scheduler.now.timestamp() < 1_700_000_000 + 20 + age + 120:
            lags.append((stream.statistics().records, stream.statistics().lag[sim.shards[0].id]))
            scheduler.advance_by(0.5)

    assert sum(window.value for window in counts) == 20
    assert stream.statistics().late == 0
    assert all(lag > 0 for records, lag in lags if records < 20)
    assert lags[-1] == (20, 0.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, EMPTY_PAGES_AT_TIP - 2))
def test_windows_after_an_absence_count_what_lies_behind_a_run(empty: int) -> None:
    sim, scheduler = backlog(0, count=5, empty_pages=empty)
    store, counts = rxd.MemoryCheckpoints(), []
    stream = rxd.changes(
        sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon", checkpoints=store
    )
    windowed = stream.pipe(dops.fold_window(dops.tumbling(10), fold=dops.count()))
    with windowed.subscribe(counts.append):
        scheduler.advance_by(120)
    for number in range(20):
        sim.put("x", n=number)
    scheduler.advance_by(7200)
    with windowed.subscribe(counts.append):
        scheduler.advance_by(5)
        assert stream.statistics().lag[sim.shards[0].id] > 7000 or len(counts) > 1
        scheduler.advance_by(120)

    assert sum(window.value for window in counts) == 25
    assert stream.statistics().late == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 7), st.sampled_from([0.1, 0.5, 2.0]))
def test_a_busy_shard_is_kept_up_with_over_short_runs(empty: int, every: float) -> None:
    scheduler = TestScheduler()
    scheduler.advance_to(1_700_000_000.0)
    sim = SimulatedStream(scheduler=scheduler, empty_pages=empty)
    reader = read(sim, scheduler)
    for number in range(100):
        sim.put("k", n=number)
        scheduler.advance_by(every)
    reader.advance(5)

    assert reader.records == sim.records
    waited = sorted(
        read_at - change.timestamp for read_at, change in zip(reader.times, reader.changes, strict=True)
    )
    assert waited[len(waited) // 2] <= 0.25 * (empty + 1)


def test_an_idle_shard_is_asked_as_the_documentation_says() -> None:
    scheduler = TestScheduler()
    sim = SimulatedStream(scheduler=scheduler)
    read(sim, scheduler, start="latest")
    asked: list[float] = []
    for step in range(1, 45 * 8):
        before = sim.calls["GetRecords"]
        scheduler.advance_to(step / 8)
        asked += [step / 8] * (sim.calls["GetRecords"] - before)

    waits = [then - first for first, then in pairwise(asked)]
    assert waits[:26] == [0.25] * 8 + [0.5] * 4 + [1.0] * 4 + [2.0] * 4 + [4.0] * 4 + [5.0] * 2
