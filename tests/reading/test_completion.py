"""A bounded read that has completed keeps its checkpoints open while somebody has its changes in hand."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import reactivex
from reactivex import operators as ops
from support.waiting import PATIENCE, wait_until

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.testing import SimulatedStream

QUICK = rxd.Poll(fastest=0.01, slowest=0.02)


class Store(rxd.MemoryCheckpoints):
    closed = 0

    def close(self, stream):
        super().close(stream)
        self.closed += 1


@pytest.fixture
def sim():
    sim = SimulatedStream(shards=4)
    for n in range(80):
        sim.put(f"item-{n}")
    return sim


def read(sim, store):
    return rxd.changes(
        sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, follow=False, poll=QUICK
    )


def rest(sim, store):
    again = []
    rxd.run(read(sim, store), again.append)
    return again


def test_what_futures_do_after_the_end_is_kept(sim):
    # source        -x-x-x-|
    # futures          -----x-x-x
    # checkpoints   --------1-2-3|
    store, go_on, handled = Store(), threading.Event(), []

    def handle(change):
        assert go_on.wait(PATIENCE)
        handled.append(change)
        return change

    with ThreadPoolExecutor(4) as executor:
        pipeline = read(sim, store).pipe(
            dops.hold(),
            ops.do_action(on_completed=go_on.set),
            ops.flat_map(lambda change: reactivex.from_future(executor.submit(handle, change))),
            dops.release(),
        )
        rxd.run(pipeline)
    assert len(handled) == 80
    assert store.closed == 1
    assert rest(sim, store) == []


def test_the_store_closes_when_the_last_change_is_released(sim):
    store, futures, completed = Store(), [], threading.Event()

    def begin(change):
        futures.append((change, Future()))
        return reactivex.from_future(futures[-1][1])

    pipeline = read(sim, store).pipe(
        dops.hold(), ops.do_action(on_completed=completed.set), ops.flat_map(begin), dops.release()
    )
    pipeline.subscribe()
    assert completed.wait(PATIENCE)
    for change, future in futures:
        assert not store.closed
        future.set_result(change)
    wait_until(lambda: store.closed)
    assert store.closed == 1
    assert rest(sim, store) == []


def test_a_subscriber_that_is_through_is_not_waited_for(sim):
    store, completed = Store(), threading.Event()
    pipeline = read(sim, store).pipe(
        dops.hold(),
        ops.do_action(on_completed=completed.set),
        ops.flat_map(lambda _: reactivex.from_future(Future())),
        dops.release(),
    )
    subscription = pipeline.subscribe()
    assert completed.wait(PATIENCE)
    assert not store.closed
    subscription.dispose()
    assert store.closed == 1
    assert len(rest(sim, store)) == 80


def test_a_store_is_closed_at_the_end_where_nobody_holds_anything(sim):
    store, completed = Store(), threading.Event()
    read(sim, store).subscribe(on_completed=completed.set)
    assert completed.wait(PATIENCE)
    wait_until(lambda: store.closed)
    assert rest(sim, store) == []


def test_a_branch_that_ends_first_does_not_close_the_store_of_the_others(sim):
    store, seen, completed = Store(), [], threading.Event()
    shared = read(sim, store).pipe(ops.share())
    first = shared.pipe(ops.take(1)).subscribe()
    shared.pipe(ops.map(lambda change: change)).subscribe(seen.append, on_completed=completed.set)
    assert completed.wait(PATIENCE)
    first.dispose()
    wait_until(lambda: store.closed)
    again = rest(sim, store)
    assert len({change.sequence_number for change in [*seen, *again]}) == 80
    assert len(again) < 80
