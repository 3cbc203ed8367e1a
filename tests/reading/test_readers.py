"""Single shards: whoever reads one lives on when the stream of shards is disposed, and hears of every end."""

from __future__ import annotations

import threading

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.testing import TestScheduler
from support.waiting import PATIENCE, wait_until

import rxddbstream as rxd
from rxddbstream.errors import CheckpointLocked, ConfigurationError
from rxddbstream.testing import SimulatedStream

OLDEST = "trim_horizon"
QUICK = rxd.Poll(fastest=0.01, slowest=0.02)


@pytest.fixture
def scheduler():
    return TestScheduler()


def reading(sim, **options):
    return rxd.shards(sim.arn, client=sim.client, start=OLDEST, **options)


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("rxddbstream")]


def numbers(changes):
    return [int(change.new_image["n"]) for change in changes]


def put(sim, count, start=0):
    for n in range(start, start + count):
        sim.put("item", n=n)


def left_to_come(sim, store, scheduler):
    again = []
    source = rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False)
    source.subscribe(again.append, again.append, scheduler=scheduler)
    scheduler.advance_by(60)
    return again


def test_one_shard_of_many_is_read_to_its_end():
    sim, told = SimulatedStream(), []
    put(sim, 5)
    sim.roll_over()
    shards = reading(sim, poll=QUICK)
    one = shards.pipe(ops.take(1), ops.flat_map(lambda shard: shard))
    one.subscribe(told.append, told.append, lambda: told.append("|"))
    wait_until(lambda: "|" in told)
    assert numbers(told[:-1]) == [0, 1, 2, 3, 4]
    wait_until(lambda: not ours())


def test_checkpoints_are_written_until_the_last_one_has_left(scheduler):
    # shards   --A--B-x
    #   A        -0---x
    #   B           -1-----2-x        then the store is free, and knows of 0, 1 and 2
    sim, store, seen, inner = SimulatedStream(shards=2, scheduler=scheduler), rxd.MemoryCheckpoints(), [], []
    first, second = (shard.id for shard in sim.shards)
    sim.put_into(first, "a", n=0)
    sim.put_into(second, "b", n=1)
    shards = reading(sim, scheduler=scheduler, checkpoints=store)
    subscription = shards.subscribe(lambda shard: inner.append(shard.subscribe(seen.append)))
    scheduler.advance_by(1)
    subscription.dispose()
    inner[0].dispose()
    sim.put_into(first, "a", n=3)
    sim.put_into(second, "b", n=2)
    scheduler.advance_by(10)
    assert numbers(seen) == [0, 1, 2]
    [locked] = left_to_come(sim, store, scheduler)
    assert isinstance(locked, CheckpointLocked)
    inner[1].dispose()
    assert numbers(left_to_come(sim, store, scheduler)) == [3]


def test_a_shard_that_nobody_reads_any_more_says_so(scheduler):
    sim, found, told = SimulatedStream(scheduler=scheduler), [], []
    reading(sim, scheduler=scheduler).subscribe(found.append).dispose()
    found[0].subscribe(told.append, told.append)
    scheduler.advance_by(10)
    [error] = told
    assert isinstance(error, ConfigurationError)
    assert "subscribe to each shard as soon as it comes" in str(error)


def test_an_error_that_ends_the_whole_is_told_to_each_who_reads_once(scheduler):
    sim, told = SimulatedStream(shards=3, scheduler=scheduler), []
    boom = ValueError("no")

    def tell(name):
        return lambda error: told.append((name, error))

    def fail_at_the_first_shard(event):
        if isinstance(event, rxd.ShardOpened):
            raise boom

    shards = reading(
        sim, scheduler=scheduler, checkpoints=rxd.MemoryCheckpoints(), events=fail_at_the_first_shard
    )
    names = iter("abc")
    shards.subscribe(lambda shard: shard.subscribe(on_error=tell(next(names))), tell("shards"))
    scheduler.advance_by(30)
    assert told[0] == ("shards", boom)
    assert sorted(told[1:]) == [("a", boom), ("b", boom), ("c", boom)]


@pytest.mark.parametrize("outer", [True, False], ids=["shards are read on", "shards were disposed"])
def test_an_error_without_on_error_is_not_lost(outer, monkeypatch):
    caught, told = [], []
    monkeypatch.setattr(threading, "excepthook", lambda args: caught.append(args.exc_value))
    sim, boom = SimulatedStream(), ValueError("no")

    def fail(change):
        raise boom

    shards = reading(sim, poll=QUICK)
    subscription = shards.subscribe(lambda shard: shard.subscribe(fail), told.append)
    if not outer:
        subscription.dispose()
    sim.put("item", n=1)
    wait_until(lambda: told or caught)
    assert (told, caught) == (([boom], []) if outer else ([], [boom]))
    wait_until(lambda: not ours())


PIPELINES = {
    "changes": lambda sim, **options: rxd.changes(
        sim.arn, client=sim.client, start="trim_horizon", **options
    ),
    "shards": lambda sim, **options: reading(sim, **options),
    "each shard": lambda sim, **options: reading(sim, **options).pipe(ops.flat_map(lambda shard: shard)),
    "each shard and a pipe": lambda sim, **options: reading(sim, **options).pipe(
        ops.flat_map(lambda shard: shard.pipe(ops.map(lambda change: change)))
    ),
    "one shard": lambda sim, **options: reading(sim, **options).pipe(
        ops.take(1), ops.flat_map(lambda shard: shard)
    ),
}


@pytest.mark.parametrize("checkpoints", [False, True])
@pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)
def test_a_shutdown_is_told(make, checkpoints):
    sim, seen, told = SimulatedStream(), [], []
    put(sim, 1)
    options = {"checkpoints": rxd.MemoryCheckpoints()} if checkpoints else {}
    with rxd.TimerPoolScheduler(4) as pool:
        make(sim, scheduler=pool, poll=QUICK, **options).subscribe(seen.append, told.append)
        wait_until(lambda: seen)
    wait_until(lambda: told)
    [error] = told
    assert isinstance(error, ConfigurationError)
    assert str(error) == "the scheduler was shut down while it was reading the stream"


def test_a_shutdown_from_inside_on_next_waits_for_nobody():
    # The second stream's delivery has the lock of its flat_map, and waits for that of merge, which we have.
    sims, seen, told, waits = [SimulatedStream(shards=2) for _ in range(2)], [], [], threading.Event()
    pool = rxd.TimerPoolScheduler(8)
    put(sims[0], 1)

    def observe(change):
        if not seen:
            seen.append(change)
            put(sims[1], 1)
            assert waits.wait(PATIENCE)
            pool.shutdown()

    def wait(change):
        waits.set()
        return change

    one = PIPELINES["each shard"](sims[0], scheduler=pool, poll=QUICK)
    second = reading(sims[1], scheduler=pool, poll=QUICK).pipe(
        ops.flat_map(lambda shard: shard.pipe(ops.map(wait)))
    )
    reactivex.merge(one, second).subscribe(observe, told.append)
    wait_until(lambda: told)
    assert isinstance(told[0], ConfigurationError)


def test_leaving_run_ends_those_whom_nobody_disposes():
    # run's threads end with it, and so does every reading on them; the last checkpoint is written
    sim, store, seen = SimulatedStream(), rxd.MemoryCheckpoints(), []
    put(sim, 3)

    class Enough(Exception):
        pass

    def subscribe(shard):
        if shard.shard.parent_id is not None:
            raise Enough
        shard.subscribe(seen.append)

    source = reading(sim, checkpoints=store, poll=QUICK)
    sim.roll_over()
    with pytest.raises(Enough):
        rxd.run(source, subscribe)
    again = []
    rxd.run(rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False), again.append)
    assert (numbers(seen), again) == ([0, 1, 2], [])
    wait_until(lambda: not ours())


def test_run_raises_what_ends_all_shards_while_they_are_read():
    sim, boom = SimulatedStream(shards=2), ValueError("no")

    def fail_at_the_first_shard(event):
        if isinstance(event, rxd.ShardOpened):
            raise boom

    shards = reading(
        sim, checkpoints=rxd.MemoryCheckpoints(period=0.2), poll=QUICK, events=fail_at_the_first_shard
    )
    with pytest.raises(ValueError, match="no"):
        rxd.run(shards.pipe(ops.flat_map(lambda shard: shard)))
    wait_until(lambda: not ours())
