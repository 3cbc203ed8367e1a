"""What is delivered while a subscription begins, ends or is disposed: nothing counts as done unseen."""

from __future__ import annotations

import threading
import time

import pytest
from reactivex import Observable
from reactivex import operators as ops
from reactivex.testing import TestScheduler
from support.waiting import PATIENCE

import rxddbstream as rxd
from rxddbstream import consume
from rxddbstream import operators as dops
from rxddbstream.scheduling.pool import TimerPoolScheduler
from rxddbstream.testing import SimulatedStream


def stream_of(count):
    sim = SimulatedStream()
    for n in range(count):
        sim.put(n)
    return sim, rxd.MemoryCheckpoints()


def rest_of(sim, store):
    """What the next run delivers."""
    again = []
    rxd.run(rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False), again.append)
    return again


def test_an_operator_that_fails_before_subscribe_has_returned_stops_all_that_follows():
    # subscribe   |----------------|          many shards: emitting them takes a while
    # source          x-x-x-x-x-x
    # map             #                       must not be called again, nor may the others count as done
    sim, store = stream_of(100)
    calls, failed = [], threading.Event()

    def takes_a_while(source):
        def subscribe(observer, scheduler=None):
            subscription = source.subscribe(observer, scheduler=scheduler)
            failed.wait(0.2)
            return subscription

        return Observable(subscribe)

    def fail(change):
        calls.append(change)
        raise ZeroDivisionError

    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store)
    pipeline = source.pipe(takes_a_while, ops.map(fail), ops.do_action(on_error=lambda _: failed.set()))
    with pytest.raises(ZeroDivisionError):
        rxd.run(pipeline)
    assert len(calls) == 1
    assert len(rest_of(sim, store)) == 100


def test_the_last_buffer_of_a_bounded_run_is_done():
    # hold      -0-1-2-3-4-5-6-7-8-9-|
    # buffer    -------[0-3]---[4-7]-[89]|    the last one comes with the end
    sim, store = stream_of(10)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, follow=False)
    sizes = []
    for _ in range(2):
        rxd.run(
            source.pipe(dops.hold(), ops.buffer_with_count(4), dops.release(), ops.map(len)), sizes.append
        )
    assert sizes == [4, 4, 2]


def test_a_slow_loop_over_a_bounded_run_leaves_nothing_to_do_again():
    sim, store = stream_of(10)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, follow=False)
    for _ in rxd.iterate(source):
        time.sleep(0.005)
    assert list(rxd.iterate(source)) == []


def disposed_slowly(source):
    """An operator that takes its time to be disposed, as RxPY disposes from the outside in."""

    def subscribe(observer, scheduler=None):
        subscription = source.subscribe(observer, scheduler=scheduler)

        class Slow:
            def dispose(self):
                time.sleep(0.05)
                subscription.dispose()

        return Slow()

    return Observable(subscribe)


def test_what_comes_while_a_loop_is_left_is_not_done():
    sim, store = stream_of(50_000)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, follow=False)
    seen = []
    for change in rxd.iterate(source.pipe(disposed_slowly)):
        seen.append(change)
        if len(seen) == 2_000:
            break
    assert len(seen) - 1 + len(rest_of(sim, store)) >= 50_000


def test_what_comes_while_an_error_ends_a_run_is_not_done():
    sim, store = stream_of(50_000)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, follow=False)
    seen = []

    def interrupt(change):
        seen.append(change)
        if len(seen) == 2_000:
            threading.Thread(target=subscription_ended.set).start()

    subscription_ended = threading.Event()
    # Ctrl-C ends the wait of `run` on the main thread; this does it in a test.
    running = consume._Subscription()
    running.subscribe(source.pipe(disposed_slowly), interrupt, lambda _: None, lambda: None)
    assert subscription_ended.wait(PATIENCE)
    running.dispose()
    assert len(seen) + len(rest_of(sim, store)) >= 50_000


def test_a_shard_whose_last_page_was_broken_off_has_not_ended():
    sim, store = SimulatedStream(), rxd.MemoryCheckpoints()
    for n in range(10):
        sim.put(n)
    sim.roll_over()
    seen, held, go_on = [], threading.Event(), threading.Event()

    def observe(change):
        seen.append(change)
        if len(seen) == 3:
            held.set()
            go_on.wait(PATIENCE)

    running = consume._Subscription()
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store)
    running.subscribe(source, observe, lambda _: None, lambda: None)
    assert held.wait(PATIENCE)
    stopping = threading.Thread(target=running.dispose)
    stopping.start()
    go_on.set()
    stopping.join()
    assert len(seen) == 3
    assert len(rest_of(sim, store)) >= 7


def test_a_stop_in_the_middle_of_a_page_closes_no_window_without_the_rest():
    # one page    0-1-2-3-4-5-...-29       a change a second
    # stopped               #              before the subscription is disposed, as Ctrl-C does
    # windows     [0..9] [10..19] [20..29] none may be kept as emitted that lacks a change
    scheduler = TestScheduler()
    scheduler.advance_to(1_000_000)
    sim, store = SimulatedStream(scheduler=scheduler), rxd.MemoryCheckpoints()
    for n in range(30):
        sim.put(n)
        scheduler.advance_by(1)
    scheduler.advance_by(100)
    source = rxd.changes(sim.arn, start="trim_horizon", client=sim.client, checkpoints=store, follow=False)
    pool, stopped, windows = TimerPoolScheduler(2), threading.Event(), []
    pool.serves_one = True

    def stop_at_15(change):
        if change.keys["id"] == 15:
            pool.shutdown()
            stopped.set()

    count = dops.fold_window(dops.tumbling(10), fold=dops.count())
    stopping = source.pipe(ops.do_action(stop_at_15), count)
    subscription = stopping.subscribe(windows.append, scheduler=pool)
    assert stopped.wait(PATIENCE)
    pool.shutdown(wait=PATIENCE)
    subscription.dispose()
    rxd.run(source.pipe(count), windows.append)
    assert [window.value for window in windows] == [10, 10, 10]
