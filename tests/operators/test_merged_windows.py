"""Windows on several readings: merged, one after the other, ended early, and what holds their changes."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
import reactivex
from reactivex import compose
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import ConfigurationError
from rxddbstream.reading.progress import Progress
from rxddbstream.testing import SimulatedStream

BEGAN = 1_000_020.0  # the start of a minute


@pytest.fixture
def scheduler():
    scheduler = TestScheduler()
    scheduler.advance_to(BEGAN)
    return scheduler


def changes_of(sim, **options):
    return rxd.changes(sim.arn, client=sim.client, **{"start": "trim_horizon", **options})


def put_for(seconds, scheduler, *streams, first=0):
    """A change a second in each stream, named after it."""
    for number in range(first, first + seconds):
        for sim in streams:
            sim.put(f"{sim.table_name[0]}{number}")
        scheduler.advance_by(1)


# --- what is held ---------------------------------------------------------------------------------


@pytest.mark.parametrize("windower", [dops.tumbling(20), dops.sliding(20, every=10), dops.session(15)])
def test_each_of_two_streams_is_held_though_their_shards_have_the_same_id(scheduler, windower):
    sims = [SimulatedStream(name, scheduler=scheduler) for name in ("orders", "returns")]
    assert sims[0].shards[0].id == sims[1].shards[0].id
    stores = [rxd.MemoryCheckpoints() for _ in sims]
    windows = dops.fold_window(windower, fold=dops.Fold(set, lambda ids, c: ids | {c.keys["id"]}, tuple))
    results = []

    def run():
        sources = [changes_of(sim, checkpoints=store) for sim, store in zip(sims, stores, strict=True)]
        return reactivex.merge(*sources).pipe(windows).subscribe(results.append, scheduler=scheduler)

    with run():
        put_for(12, scheduler, *sims)
    with run():
        scheduler.advance_by(60)

    found = {key for result in results for key in result.value}
    assert found == {f"{letter}{number}" for letter in "or" for number in range(12)}


# --- a stream that is ended in front of its windows ------------------------------------------------

COUNTS = dops.fold_window(dops.tumbling(20), fold=dops.count())


def truth(*sims, size=20):
    """How many changes each window has, by its start."""
    times = [
        record["dynamodb"]["ApproximateCreationDateTime"].timestamp()
        for sim in sims
        for record in sim.records
    ]
    return dict(Counter(time // size * size for time in times))


def written(results):
    """What somebody has who writes results under their start, and overwrites what is there."""
    return {result.start.timestamp(): result.value for result in results}


def until_told(signal):
    return dops.take_until(signal)


def for_a_while(signal):
    return dops.take_with_time(25)


def so_many(signal):
    return ops.take(25)


def as_long_as(signal):
    return ops.take_while(lambda change: change.keys["id"] != "o25")


def until_it_fails(signal):
    def fail(change):
        if change.keys["id"] == "o25":
            raise KeyError("in passing")

    return compose(ops.do_action(fail), ops.catch(reactivex.empty()))


ENDS = [until_told, for_a_while, so_many, as_long_as, until_it_fails]


@pytest.mark.parametrize("windower", [dops.tumbling(20), dops.sliding(40, every=20)])
@pytest.mark.parametrize(
    ("end", "follow"),
    [(end, True) for end in ENDS]
    + [(end, False) for end in ENDS if end is not for_a_while],  # all is read before the time is over
)
def test_windows_of_a_stream_that_was_ended_early_come_whole_in_the_next_run(
    scheduler, end, windower, follow
):
    sim, store, signal = SimulatedStream(scheduler=scheduler), rxd.MemoryCheckpoints(), Subject()
    windows = dops.fold_window(windower, fold=dops.count())
    results, ends = [], []
    if not follow:
        put_for(40, scheduler, sim)
    changes_of(sim, checkpoints=store, follow=follow).pipe(end(signal), windows).subscribe(
        results.append, ends.append, lambda: ends.append("completed"), scheduler=scheduler
    )
    if follow:
        put_for(26, scheduler, sim)
        signal.on_next(None)
        put_for(14, scheduler, sim, first=26)
    else:
        scheduler.advance_by(0.1)
        signal.on_next(None)
        scheduler.advance_by(60)
    assert ends == ["completed"]
    with changes_of(sim, checkpoints=store).pipe(windows).subscribe(results.append, scheduler=scheduler):
        put_for(60, scheduler, sim, first=40)
        scheduler.advance_by(60)

    expected = truth(sim)
    if windower.span == 40:
        starts = {start - before for start in expected for before in (0, 20)}
        expected = {start: expected.get(start, 0) + expected.get(start + 20, 0) for start in starts}
    assert written(results) == expected


def test_without_checkpoints_windows_are_emitted_where_a_stream_is_ended(scheduler):
    sim, results = SimulatedStream(scheduler=scheduler), []
    changes_of(sim).pipe(ops.take(5), COUNTS).subscribe(results.append, scheduler=scheduler)
    put_for(10, scheduler, sim)

    assert [result.value for result in results] == [5]


@pytest.mark.parametrize("shared", [False, True])
def test_windows_on_each_shard_are_emitted_when_the_shard_has_ended(scheduler, shared):
    sim, store, results = SimulatedStream(scheduler=scheduler), rxd.MemoryCheckpoints(), []

    def windows_of(shard):
        windows = dops.fold_window(dops.tumbling(20), fold=dops.count(), name=shard.shard.id)
        return shard.pipe(ops.publish(windows) if shared else windows)

    def run():
        shards = rxd.shards(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store)
        return shards.pipe(ops.flat_map(windows_of)).subscribe(results.append, scheduler=scheduler)

    with run():
        put_for(25, scheduler, sim)
        sim.roll_over()
        put_for(10, scheduler, sim)
    with run():
        put_for(20, scheduler, sim)
        scheduler.advance_by(30)

    assert [result.value for result in results] == [20, 5, 15, 15]


@pytest.mark.parametrize("shared", [False, True])
def test_a_shard_that_is_ended_early_has_its_windows_whole_in_the_next_run(scheduler, shared):
    sim, store, results = SimulatedStream(scheduler=scheduler), rxd.MemoryCheckpoints(), []

    def run(*first):
        def windows_of(shard):
            windows = dops.fold_window(dops.tumbling(20), fold=dops.count(), name=shard.shard.id)
            changes = shard.pipe(*first)
            return changes.pipe(ops.publish(windows) if shared else windows)

        shards = rxd.shards(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store)
        return shards.pipe(ops.flat_map(windows_of)).subscribe(results.append, scheduler=scheduler)

    with run(ops.take(25)):
        put_for(30, scheduler, sim)
    with run():
        put_for(30, scheduler, sim)
        scheduler.advance_by(30)

    assert written(results) == truth(sim)


# --- a stream that is read again -------------------------------------------------------------------


def test_what_a_bounded_reading_had_in_open_windows_is_counted_once_when_the_next_one_brings_it(scheduler):
    sim, store, results = SimulatedStream(scheduler=scheduler), rxd.MemoryCheckpoints(), []
    put_for(30, scheduler, sim)
    both = reactivex.concat(
        changes_of(sim, follow=False, checkpoints=store), changes_of(sim, checkpoints=store)
    )
    with both.pipe(COUNTS).subscribe(results.append, scheduler=scheduler):
        scheduler.advance_by(10)
        put_for(30, scheduler, sim, first=30)
        scheduler.advance_by(30)

    assert written(results) == truth(sim)
    assert len(results) == len(truth(sim))


def flaky(sim, scheduler, after):
    """A stream of which one change fails, once; `after` says what is done then."""
    failed = []

    def fail(change):
        if change.keys["id"] == "o15" and not failed:
            failed.append(change)
            raise KeyError("in passing")

    return changes_of(sim, checkpoints=rxd.MemoryCheckpoints()).pipe(ops.do_action(fail), after)


AFTER = {
    "read again": ops.retry(),
    "read again after a while": ops.catch(
        lambda error, source: reactivex.timer(3).pipe(ops.flat_map(lambda _: source))
    ),
    "no more": ops.catch(reactivex.empty()),
}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("kept", [True, False])
def test_one_of_merged_streams_that_is_read_again_is_refused_where_windows_would_be_wrong(
    scheduler, after, kept
):
    sims = [SimulatedStream(name, scheduler=scheduler) for name in ("orders", "returns")]
    results, errors = [], []
    other = changes_of(sims[1], checkpoints=rxd.MemoryCheckpoints() if kept else None)
    reactivex.merge(flaky(sims[0], scheduler, AFTER[after]), other).pipe(COUNTS).subscribe(
        results.append, errors.append, scheduler=scheduler
    )
    put_for(60, scheduler, *sims)

    assert results == []
    assert [type(error) for error in errors] == [ConfigurationError]
    assert sims[0].arn in str(errors[0])
    assert "behind the merge" in str(errors[0])


def test_one_of_merged_streams_that_is_read_again_does_no_harm_where_the_other_has_no_share(scheduler):
    sims = [SimulatedStream(name, scheduler=scheduler) for name in ("orders", "returns")]
    results, errors = [], []
    both = reactivex.merge(
        flaky(sims[0], scheduler, ops.retry()), changes_of(sims[1], checkpoints=rxd.MemoryCheckpoints())
    )
    with both.pipe(COUNTS).subscribe(results.append, errors.append, scheduler=scheduler):
        put_for(60, scheduler, sims[0])
        scheduler.advance_by(30)

    assert errors == []
    assert written(results) == truth(sims[0])
    assert len(results) == len(truth(sims[0]))


def test_merged_streams_that_are_read_again_together_are_counted_once(scheduler):
    sims = [SimulatedStream(name, scheduler=scheduler) for name in ("orders", "returns")]
    stores, failed, results = [rxd.MemoryCheckpoints() for _ in sims], [], []

    def fail(change):
        if change.keys["id"] == "o15" and not failed:
            failed.append(change)
            raise KeyError("in passing")

    sources = [changes_of(sim, checkpoints=store) for sim, store in zip(sims, stores, strict=True)]
    both = reactivex.merge(*sources).pipe(ops.do_action(fail), ops.retry(), COUNTS)
    with both.subscribe(results.append, scheduler=scheduler):
        put_for(60, scheduler, *sims)
        scheduler.advance_by(30)

    assert failed
    assert written(results) == truth(*sims)
    assert len(results) == len(truth(*sims))


def test_merged_streams_that_end_one_after_the_other_are_no_error(scheduler):
    sims = [SimulatedStream(name, scheduler=scheduler) for name in ("orders", "returns")]
    stores, signal = [rxd.MemoryCheckpoints() for _ in sims], Subject()
    results, ends = [], []

    def run(*before):
        sources = [
            changes_of(sim, checkpoints=store).pipe(*before) for sim, store in zip(sims, stores, strict=True)
        ]
        return (
            reactivex.merge(*sources)
            .pipe(COUNTS)
            .subscribe(results.append, ends.append, lambda: ends.append("completed"), scheduler=scheduler)
        )

    run(dops.take_until(signal))
    put_for(30, scheduler, *sims)
    signal.on_next(None)
    assert ends == ["completed"]
    with run():
        put_for(30, scheduler, *sims, first=30)
        scheduler.advance_by(30)

    assert written(results) == truth(*sims)


# --- who is waited for -----------------------------------------------------------------------------


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("kept", [True, False])
def test_windows_wait_for_a_merged_stream_that_has_not_answered_yet(scheduler, kept, given):
    sims = [SimulatedStream(name, scheduler=scheduler) for name in ("orders", "returns")]
    for minute in range(30):
        for sim in sims:
            sim.put(f"{sim.table_name[0]}{minute}")
        scheduler.advance_by(60)
    sims[1].script("DescribeStream", *["ThrottlingException"] * 5)
    results, late = [], []
    sources = [
        changes_of(
            sim,
            checkpoints=rxd.MemoryCheckpoints() if kept else None,
            scheduler=None if given else scheduler,
        )
        for sim in sims
    ]
    windows = dops.fold_window(dops.tumbling(60), fold=dops.count(), late=late.append)
    with (
        reactivex.merge(*sources)
        .pipe(ops.filter(lambda change: True), windows)
        .subscribe(results.append, scheduler=scheduler if given else None)
    ):
        scheduler.advance_by(120)

    assert late == []
    assert written(results) == truth(*sims, size=60)


def test_windows_do_not_wait_for_streams_of_others(scheduler):
    # Each of two merged pipelines has windows of its own.
    sims = [SimulatedStream(name, scheduler=scheduler) for name in ("orders", "returns")]
    sims[1].script("DescribeStream", *["ThrottlingException"] * 1000)
    results = []
    both = reactivex.merge(*(changes_of(sim).pipe(COUNTS) for sim in sims))
    with both.subscribe(results.append, scheduler=scheduler):
        put_for(60, scheduler, sims[0])

    assert [result.value for result in results] == [20, 20]


def test_windows_behind_windows_wait_for_their_streams(scheduler):
    sims = [SimulatedStream(name, scheduler=scheduler) for name in ("orders", "returns")]
    put_for(60, scheduler, *sims)
    sims[1].script("DescribeStream", *["ThrottlingException"] * 5)
    results, late = [], []
    single = dops.window(dops.tumbling(1), name="single")
    both = reactivex.merge(*(changes_of(sim) for sim in sims)).pipe(
        single,
        ops.flat_map(lambda window: window),
        dops.fold_window(dops.tumbling(20), fold=dops.count(), lateness=5, late=late.append),
    )
    with both.subscribe(results.append, scheduler=scheduler):
        scheduler.advance_by(120)

    assert late == []
    assert written(results) == truth(*sims)


# --- what is kept in memory ------------------------------------------------------------------------


def alive():
    gc.collect()
    return sum(isinstance(each, Progress) for each in gc.get_objects())


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    "again", [ops.repeat(), compose(ops.concat(reactivex.throw(KeyError())), ops.retry())]
)
def test_readings_that_have_ended_are_forgotten(scheduler, again, kept):
    sim = SimulatedStream(scheduler=scheduler)
    store = rxd.MemoryCheckpoints() if kept else None
    a_second = reactivex.timer(1).pipe(ops.ignore_elements())
    source = reactivex.concat(changes_of(sim, follow=False, checkpoints=store), a_second)
    sim.put("a")
    with source.pipe(again, COUNTS).subscribe(lambda _: None, scheduler=scheduler):
        scheduler.advance_by(10)
        before = alive()
        scheduler.advance_by(60)
        after = alive()

    assert sim.calls["DescribeStream"] > 60
    assert after <= before + 5
