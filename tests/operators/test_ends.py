"""take_with_time, take_until: the end lies between two changes."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler
from support.interleaving import at_once
from support.waiting import PATIENCE, wait_until

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import ConfigurationError
from rxddbstream.model.callback import checked
from rxddbstream.testing import SimulatedStream


def observed(source, scheduler, *operators):
    seen = []
    source.pipe(*operators).subscribe(
        seen.append, lambda error: seen.append(error), lambda: seen.append("|"), scheduler=scheduler
    )
    return seen


@pytest.mark.parametrize("duration", [3.5, timedelta(seconds=3.5)])
def test_take_with_time(duration):
    # source               -0-1-2-3-4-
    # take_with_time(3.5)  -0-1-2-|
    scheduler = TestScheduler()
    seen = observed(reactivex.interval(1.0), scheduler, dops.take_with_time(duration))
    scheduler.advance_by(10)
    assert seen == [0, 1, 2, "|"]


@pytest.mark.parametrize("duration", [0, 0.5, timedelta(0)])
def test_take_with_less_than_a_second(duration):
    scheduler = TestScheduler()
    seen = observed(reactivex.interval(1.0), scheduler, dops.take_with_time(duration))
    scheduler.advance_by(10)
    assert seen == ["|"]


def test_a_source_that_ends_before_ends_at_once():
    scheduler = TestScheduler()
    seen = observed(reactivex.of(1, 2), scheduler, dops.take_with_time(5))
    scheduler.advance_by(1)
    assert seen == [1, 2, "|"]


def test_a_source_that_fails_fails():
    scheduler, boom = TestScheduler(), ValueError()
    seen = observed(reactivex.throw(boom), scheduler, dops.take_with_time(5))
    scheduler.advance_by(1)
    assert seen == [boom]


@pytest.mark.parametrize("duration", [-1, timedelta(seconds=-1), float("nan")])
def test_no_time_is_refused(duration):
    with pytest.raises(ConfigurationError, match="duration must be"):
        dops.take_with_time(duration)


def test_take_until():
    source, other = Subject(), Subject()
    seen = observed(source, None, dops.take_until(other))
    source.on_next(1)
    other.on_next("stop")
    source.on_next(2)
    assert seen == [1, "|"]
    assert not source.observers
    assert not other.observers


def test_take_until_goes_on_when_the_other_completes_and_fails_when_it_does():
    source, other, boom = Subject(), Subject(), ValueError()
    seen = observed(source, None, dops.take_until(other))
    failing = observed(source, None, dops.take_until(reactivex.throw(boom)))
    other.on_completed()
    source.on_next(1)
    assert seen == [1]
    assert failing == [boom]


@pytest.mark.parametrize("end", ["completes", "fails"])
def test_no_end_comes_into_a_change_that_is_in_hand(end):
    def make():
        puts, told = [], []
        source, other = (reactivex.create(lambda observer, _: puts.append(observer)) for _ in range(2))

        def take(change):
            told.append("taken up")
            checked(bool, "on_next")  # a stretch in which the other thread may come
            told.append("through")

        source.pipe(dops.take_until(other)).subscribe(
            take, lambda _: told.append("failed"), lambda: told.append("completed")
        )
        other_puts, source_puts = puts

        def check():
            assert told in (["taken up", "through", last], [last])

        last = "completed" if end == "completes" else "failed"
        ending = partial(other_puts.on_next if end == "completes" else other_puts.on_error, ValueError())
        return lambda: source_puts.on_next(1), ending, check

    at_once(make)


def test_dispose_ends_both():
    source, other = Subject(), Subject()
    source.pipe(dops.take_until(other)).subscribe().dispose()
    assert not source.observers
    assert not other.observers


def test_the_end_may_come_from_inside_on_next():
    source, other, seen = Subject(), Subject(), []
    source.pipe(dops.take_until(other)).subscribe(
        lambda n: (seen.append(n), other.on_next(None)), on_completed=lambda: seen.append("|")
    )
    source.on_next(1)
    source.on_next(2)
    assert seen == [1, "|"]


def test_the_end_waits_for_the_change_in_hand_also_in_a_merged_pipeline():
    # Here no guard stands around RxPY's `merge`: the operator alone has to do it.
    sim, store = SimulatedStream(), rxd.MemoryCheckpoints()
    for n in range(50):
        sim.put("item", n=n)
    in_hand, ending, completed, seen = threading.Event(), threading.Event(), threading.Event(), []

    def observe(change):
        seen.append(change)
        if len(seen) == 5:
            in_hand.set()
            assert ending.wait(PATIENCE)

    stop = Subject()
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store)
    merged = reactivex.merge(source, reactivex.never()).pipe(ops.map(lambda change: change))
    merged.pipe(dops.take_until(stop)).subscribe(observe, on_completed=completed.set)
    assert in_hand.wait(PATIENCE)
    ender = threading.Thread(target=stop.on_next, args=[None])
    ender.start()
    ending.set()
    ender.join(PATIENCE)
    wait_until(completed.is_set)
    again = []
    rxd.run(rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False), again.append)
    assert len({change.sequence_number for change in [*seen, *again]}) == 50


def test_the_end_comes_when_the_change_in_hand_is_done():
    # changes     -a-b-c-
    # other       ----x         from inside b's on_next: b has been handled, and does not come again
    scheduler = TestScheduler()
    sim, store, stop, seen = SimulatedStream(scheduler=scheduler), rxd.MemoryCheckpoints(), Subject(), []
    for n in range(5):
        sim.put("item", n=n)

    def observe(change):
        seen.append(change)
        if len(seen) == 2:
            stop.on_next(None)

    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store)
    until_told = source.pipe(dops.take_until(stop), ops.map(lambda change: change))
    until_told.subscribe(observe, seen.append, lambda: seen.append("|"), scheduler=scheduler)
    scheduler.advance_by(5)
    assert [*map(number, seen)] == [0, 1, "|"]
    again = []
    rxd.changes(sim.arn, client=sim.client, checkpoints=store).subscribe(again.append, scheduler=scheduler)
    scheduler.advance_by(5)
    assert [*map(number, again)] == [2, 3, 4]


def number(change):
    return change.new_image["n"] if isinstance(change, rxd.Change) else change


def test_an_error_in_the_change_in_hand_comes_before_an_end_that_waits_for_it():
    source, stop, boom, seen = Subject(), Subject(), ValueError("in hand"), []

    def observe(_):
        stop.on_next(None)
        raise boom

    source.pipe(dops.take_until(stop)).subscribe(observe, seen.append, lambda: seen.append("|"))
    with pytest.raises(ValueError, match="in hand"):
        source.on_next(1)
    source.on_error(boom)
    assert seen == [boom]


def test_two_ends_do_not_wait_for_each_other():
    # one     -a-|      ended by b's observer, which has merge's lock, while a waits for that
    # other   -b-|
    one, other, stop, seen = Subject(), Subject(), Subject(), []
    waiting = threading.Event()

    def observe(element):
        seen.append(element)
        if element == "b":
            thread.start()
            assert waiting.wait(PATIENCE)
            stop.on_next(None)

    def wait(element):
        waiting.set()
        return element

    before_merge = ops.map(wait), dops.take_until(stop)
    merged = reactivex.merge(one.pipe(*before_merge), other.pipe(dops.take_until(stop)))
    merged.subscribe(observe, seen.append, lambda: seen.append("|"))
    thread = threading.Thread(target=one.on_next, args=["a"], daemon=True)
    other.on_next("b")
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert seen[0] == "b"
    assert seen[-1] == "|"
