"""Windows, and the shards of one stream: who is waited for, and what is kept of those that are gone."""

from __future__ import annotations

from datetime import timedelta

import pytest
import reactivex
from reactivex import compose
from reactivex import operators as ops
from reactivex.testing import TestScheduler
from support.reading import StaleListing

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import ConfigurationError
from rxddbstream.testing import SimulatedShard, SimulatedStream
from rxddbstream.testing.faults import client_error
from rxddbstream.testing.shapes import HASH_SPACE

BEGAN = 1_000_020.0  # the start of a minute


@pytest.fixture
def scheduler():
    scheduler = TestScheduler()
    scheduler.advance_to(BEGAN)
    return scheduler


# --- shards whose parents are not listed ------------------------------------------------------------


def old_shards(count, with_parents):
    """What the service lists of a stream that is older than a day: parents are named that are gone."""
    step = HASH_SPACE // count
    return [
        SimulatedShard(
            f"shardId-{number:020d}-aaaaaaaa",
            parent_id=f"shardId-{number:020d}-00000000" if number in with_parents else None,
            low=number * step,
            high=(number + 1) * step if number < count - 1 else HASH_SPACE,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("throttled", [0, 1, 4])
@pytest.mark.parametrize("with_parents", [{0, 1, 2, 3, 4, 5}, {1, 4}, {5}])
def test_windows_wait_for_all_shards_whose_parents_may_be_gone(scheduler, with_parents, throttled):
    shards = old_shards(6, with_parents)
    sim = SimulatedStream(scheduler=scheduler, shards=shards)
    for minute in range(30):
        for shard in shards:
            sim.put_into(shard.id, f"{shard.id}-{minute}")
        scheduler.advance_by(60)
    began, refused = scheduler.now.timestamp(), []

    def throttle_once(operation, arguments):
        # When it would be believed that the parent is gone.
        is_due = scheduler.now.timestamp() - began > 20 and not refused
        if is_due and arguments.get("ShardId") == shards[throttled].parent_id:
            refused.append(operation)
            raise client_error("ThrottlingException", operation)

    sim.before_call = throttle_once
    results, late = [], []
    windows = dops.fold_window(dops.tumbling(60), fold=dops.count(), late=late.append)
    stream = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", scheduler=scheduler)
    with stream.pipe(windows).subscribe(results.append):
        scheduler.advance_by(15)
        assert results == []
        assert stream.statistics().watermark is None
        scheduler.advance_by(180)

    assert late == []
    assert [result.value for result in results] == [6] * 30


def test_windows_wait_where_a_child_is_listed_before_its_parent(scheduler):
    # The first shard is read for long; below it a parent and its child, of which the child is listed first.
    sim = SimulatedStream(scheduler=scheduler, shards=2, page_size=10)
    first, other = sim.shards
    for number in range(100):
        sim.put_into(first.id, f"a{number}")
        sim.put_into(other.id, f"b{number}")
        scheduler.advance_by(1)
    sim.roll_over(first.id)
    parent = next(shard for shard in sim.shards if shard.parent_id == first.id)
    sim.put_into(parent.id, "parent")
    sim.roll_over(parent.id)
    child = next(shard for shard in sim.shards if shard.parent_id == parent.id)
    sim.put_into(child.id, "child")
    for number in range(200):
        sim.put_into(other.id, f"c{number}")
        scheduler.advance_by(1)
    client = StaleListing(sim, scheduler, hidden={parent.id: scheduler.now.timestamp() + 15})
    results, late = [], []
    windows = dops.fold_window(dops.tumbling(10), fold=dops.count(), late=late.append)
    stream = rxd.changes(sim.arn, client=client, start="trim_horizon", scheduler=scheduler)
    with stream.pipe(windows).subscribe(results.append):
        scheduler.advance_by(200)

    assert late == []
    assert sum(result.value for result in results) == len(sim.records)


# --- shards that are closed -------------------------------------------------------------------------


@pytest.mark.parametrize("slowest", [0.25, 5, 60])
def test_what_a_child_has_from_before_its_parent_was_found_closed_is_not_late(scheduler, slowest):
    # parent   0 ----- (quiet) ----- 97 |            asked at 96, and at 100
    # child                          97 98 ...       the first window ends at 98
    sim = SimulatedStream(scheduler=scheduler)
    results, late = [], []
    stream = rxd.changes(
        sim.arn,
        client=sim.client,
        start="trim_horizon",
        scheduler=scheduler,
        poll=rxd.Poll(fastest=0.25, slowest=slowest),
    )
    windows = dops.fold_window(dops.tumbling(1), fold=dops.count(), late=late.append)
    with stream.pipe(windows).subscribe(results.append):
        for _ in range(10):
            sim.put("a")
            scheduler.advance_by(97)
            sim.roll_over()
            sim.put("b")
            scheduler.advance_by(70)

    assert late == []
    assert sum(result.value for result in results) == 20


# --- shards that are read no more --------------------------------------------------------------------


def fail_at(name):
    def fail(change):
        if change.keys["id"] == name:
            raise KeyError("in passing")

    return ops.do_action(fail)


ENDS = {
    "an error that is handled": compose(fail_at("a20"), ops.catch(reactivex.empty())),
    "enough": ops.take(20),
    "disposed": dops.take_with_time(20),
}


def put_into_both(sim, scheduler, seconds, first=0):
    for number in range(first, first + seconds):
        for letter, shard in zip("ab", sim.shards, strict=True):
            sim.put_into(shard.id, f"{letter}{number}")
        scheduler.advance_by(1)


def shards_of(sim, scheduler, store=None):
    return rxd.shards(
        sim.arn, client=sim.client, start="trim_horizon", scheduler=scheduler, checkpoints=store
    )


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kept", [True, False])
def test_windows_of_a_shard_do_not_wait_for_another_that_is_read_no_more(scheduler, end, kept):
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    first = sim.shards[0].id
    store = rxd.MemoryCheckpoints() if kept else None
    results, read, errors = [], [], []

    def windows_of(shard, *before):
        windows = dops.fold_window(dops.tumbling(10), fold=dops.count(), name=shard.shard.id)
        return shard.pipe(*before, windows, ops.map(lambda result: (shard.shard.id, result)))

    def run(*before):
        def of(shard):
            return windows_of(shard, *(before if shard.shard.id == first else [ops.do_action(read.append)]))

        return (
            shards_of(sim, scheduler, store)
            .pipe(ops.flat_map(of))
            .subscribe(results.append, errors.append, scheduler=scheduler)
        )

    with run(ENDS[end]):
        put_into_both(sim, scheduler, 300)
        scheduler.advance_by(30)
    assert errors == []
    assert len(read) == 300
    assert [result.value for shard_id, result in results if shard_id != first] == [10] * 30

    if kept:
        with run():
            scheduler.advance_by(60)
        found = {result.start: result.value for shard_id, result in results if shard_id == first}
        assert list(found.values()) == [10] * 30


def test_a_shard_that_is_subscribed_to_again_is_waited_for_again(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    failed, results, late = [], [], []

    def fail_once(change):
        if change.keys["id"] == "a20" and not failed:
            failed.append(change)
            raise KeyError("in passing")

    windows = dops.fold_window(dops.tumbling(10), fold=dops.count(), late=late.append)
    of = ops.flat_map(lambda shard: shard.pipe(ops.do_action(fail_once), ops.retry()))
    with shards_of(sim, scheduler).pipe(of, windows).subscribe(results.append):
        put_into_both(sim, scheduler, 60)
        scheduler.advance_by(30)

    # What it had in open windows is in them twice: without checkpoints a retry begins anew.
    assert failed
    assert [result.value for result in results][3:] == [20] * 3
    assert sum(result.value for result in results) + len(late) == 2 * 60 + 20


def test_a_shard_that_is_read_again_in_front_of_its_windows_is_counted_once(scheduler):
    sim, store, failed, results = SimulatedStream(scheduler=scheduler), rxd.MemoryCheckpoints(), [], []

    def fail_once(change):
        if change.keys["id"] == "a25" and not failed:
            failed.append(change)
            raise KeyError("in passing")

    windows = dops.fold_window(dops.tumbling(10), fold=dops.count())
    of = ops.flat_map(lambda shard: shard.pipe(ops.do_action(fail_once), ops.retry(), windows))
    with shards_of(sim, scheduler, store).pipe(of).subscribe(results.append, scheduler=scheduler):
        for number in range(60):
            sim.put(f"a{number}")
            scheduler.advance_by(1)
        scheduler.advance_by(30)

    assert failed
    assert [result.value for result in results] == [10] * 6


ENDS_OR_BEGINS_ANEW = ENDS | {
    "again": compose(fail_at("a20"), ops.retry(2), ops.catch(reactivex.empty())),
}


@pytest.mark.parametrize("end", ENDS_OR_BEGINS_ANEW)
def test_windows_that_a_shard_feeds_which_is_read_no_more_are_refused_where_checkpoints_are_kept(
    scheduler, end
):
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    results, errors = [], []
    first = sim.shards[0].id
    windows = dops.fold_window(dops.tumbling(100), fold=dops.count())
    of = ops.flat_map(
        lambda shard: shard.pipe(ENDS_OR_BEGINS_ANEW[end]) if shard.shard.id == first else shard
    )
    stream = shards_of(sim, scheduler, rxd.MemoryCheckpoints())
    stream.pipe(of, windows).subscribe(results.append, errors.append, scheduler=scheduler)
    put_into_both(sim, scheduler, 300)

    assert results == []
    assert [type(error) for error in errors] == [ConfigurationError]
    assert "behind the merge" in str(errors[0])


# --- what is kept -------------------------------------------------------------------------------------


def emitted_keys(store, sim):
    return {key for key in store.load(sim.arn) if key.startswith("*emitted")}


def test_what_windows_of_shards_that_are_gone_had_emitted_is_dropped(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler, retention=timedelta(hours=24)), rxd.MemoryCheckpoints()
    stream = rxd.shards(
        sim.arn,
        client=sim.client,
        start="trim_horizon",
        scheduler=scheduler,
        checkpoints=store,
        poll=rxd.Poll(fastest=60, slowest=600),
    )

    def windows_of(shard):
        return shard.pipe(dops.fold_window(dops.tumbling(60), fold=dops.count(), name=shard.shard.id))

    results, errors, kept = [], [], []
    with stream.pipe(ops.flat_map(windows_of)).subscribe(results.append, errors.append):
        for _ in range(10):
            sim.put("a")
            scheduler.advance_by(12 * 3600)
            sim.roll_over()
            kept.append(emitted_keys(store, sim))

    assert errors == []
    assert sum(result.value for result in results) >= 10 - 1
    assert max(map(len, kept)) <= 6  # of two days and more, at a new shard every 12 hours
    assert kept[-1]


def test_what_was_emitted_is_kept_as_long_as_there_is_the_operator(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), rxd.MemoryCheckpoints()
    quiet = compose(
        ops.filter(lambda change: change.keys["id"] == "first"),
        dops.fold_window(dops.tumbling(60), fold=dops.count(), name="quiet"),
    )
    stream = rxd.changes(
        sim.arn,
        client=sim.client,
        start="trim_horizon",
        scheduler=scheduler,
        checkpoints=store,
        poll=rxd.Poll(fastest=60, slowest=600),
    )
    sim.put("first")
    with stream.pipe(quiet).subscribe(lambda _: None):
        scheduler.advance_by(12 * 3600)
        before = emitted_keys(store, sim)
        for _ in range(5):
            sim.put("other")
            sim.roll_over()
            scheduler.advance_by(12 * 3600)
        assert emitted_keys(store, sim) == before != set()
    with stream.subscribe(lambda _: None):
        scheduler.advance_by(12 * 3600)
    assert emitted_keys(store, sim) == set()
