"""What was dropped by an observer that had stopped is not done, however it was stopped."""

from __future__ import annotations

import threading

import pytest
import reactivex
from reactivex import Observable, Observer
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.observer import AutoDetachObserver
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject
from support.waiting import PATIENCE, wait_until

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.checkpoints.observing import taker_unless_known
from rxddbstream.testing import SimulatedStream

QUICK = rxd.Poll(fastest=0.01, slowest=0.02)
COUNT = 50


class Interrupted:
    """A stream whose 5th change is in hand while another thread ends the subscription.

    That thread is held up between the first line of RxPY's `dispose` or `on_completed`, which stops the
    observer, and the next, which tells what is upstream.
    """

    def __init__(self, monkeypatch):
        self.sim, self.store = SimulatedStream(), rxd.MemoryCheckpoints()
        for n in range(COUNT):
            self.sim.put("item", n=n)
        self.seen = []
        self.in_hand, self.stopped = threading.Event(), threading.Event()
        self.source = rxd.changes(
            self.sim.arn, client=self.sim.client, start="trim_horizon", checkpoints=self.store, poll=QUICK
        )
        delivered = threading.Event()
        self._delivered = delivered
        ending = threading.current_thread()
        dispose = AutoDetachObserver.dispose

        def held_up(observer):
            observer.is_stopped = True
            if threading.current_thread() is ending and not self.stopped.is_set():
                self.stopped.set()
                delivered.wait(0.3)  # the delivery goes on meanwhile, and must not count as done
            dispose(observer)

        monkeypatch.setattr(AutoDetachObserver, "dispose", held_up)

    def observe(self, change):
        self.seen.append(change)
        if len(self.seen) == 5:
            self.in_hand.set()
            assert self.stopped.wait(PATIENCE)

    def lost(self):
        again = []
        source = rxd.changes(self.sim.arn, client=self.sim.client, checkpoints=self.store, follow=False)
        rxd.run(source, again.append)
        return COUNT - len({change.sequence_number for change in [*self.seen, *again]})


def wrapped(source):
    return Observable(lambda observer, scheduler=None: source.subscribe(observer, scheduler=scheduler))


PIPELINES = {
    "nothing": (),
    "map": (ops.map(lambda change: change),),
    "an operator of one's own": (ops.filter(lambda _: True), wrapped, ops.map(lambda change: change)),
    "share": (ops.share(), ops.map(lambda change: change)),
}


@pytest.mark.parametrize("operators", PIPELINES.values(), ids=PIPELINES)
def test_dispose_from_another_thread_loses_nothing(monkeypatch, operators):
    stream = Interrupted(monkeypatch)
    subscription = stream.source.pipe(*operators).subscribe(stream.observe)
    assert stream.in_hand.wait(PATIENCE)
    subscription.dispose()
    assert stream.lost() == 0


@pytest.mark.parametrize("take_until", [ops.take_until, dops.take_until], ids=["RxPY's", "ours"])
@pytest.mark.parametrize("behind", [False, True], ids=["last", "before others"])
def test_an_end_from_another_thread_loses_nothing(monkeypatch, take_until, behind):
    stream = Interrupted(monkeypatch)
    stop = Subject()
    more = [ops.map(lambda change: change)] if behind else []
    completed = threading.Event()
    pipeline = stream.source.pipe(take_until(stop), *more)
    pipeline.subscribe(stream.observe, on_completed=completed.set)
    assert stream.in_hand.wait(PATIENCE)
    if take_until is dops.take_until:
        stream.stopped.set()  # it waits for the change in hand
    stop.on_next(None)
    assert completed.wait(PATIENCE)
    assert stream.lost() == 0


def test_what_a_queue_hands_on_while_all_is_disposed_is_not_done():
    # dispose     outer |--- slow ---|  the queue
    # drain          x x x x x x x x |            dropped by the outer ones, which are gone
    sim, store = SimulatedStream(), rxd.MemoryCheckpoints()
    for n in range(COUNT):
        sim.put("item", n=n)
    in_hand, stopping, dropping = threading.Event(), threading.Event(), threading.Semaphore(0)
    seen = []

    def slow_to_dispose(source):
        def subscribe(observer, scheduler=None):
            inner = source.subscribe(observer, scheduler=scheduler)

            def dispose():
                stopping.set()
                for _ in range(10):
                    assert dropping.acquire(timeout=PATIENCE)
                inner.dispose()

            return Disposable(dispose)

        return Observable(subscribe)

    def observe(change):
        seen.append(change)
        if len(seen) == 5:
            in_hand.set()
            assert stopping.wait(PATIENCE)

    def count(change):
        if stopping.is_set():
            dropping.release()

    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, poll=QUICK)
    pipeline = source.pipe(
        dops.observe_on(EventLoopScheduler(), max_pending=COUNT), ops.do_action(count), slow_to_dispose
    )
    subscription = pipeline.subscribe(observe)
    assert in_hand.wait(PATIENCE)
    subscription.dispose()
    again = []
    rxd.run(rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False), again.append)
    assert len({change.sequence_number for change in [*seen, *again]}) == COUNT


def test_a_branch_that_has_ended_does_not_hold_up_the_others():
    # shared      -1--2--3--4--5--
    # take(1)     -1|
    # the other   -1--2--3--4--5--       and its checkpoint comes to 5
    sim, store = SimulatedStream(), rxd.MemoryCheckpoints(count=1)
    for n in range(5):
        sim.put("item", n=n)
    source = rxd.changes(
        sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, poll=QUICK, follow=False
    )
    shared = source.pipe(ops.publish())
    first, others, completed = [], [], threading.Event()
    shared.pipe(ops.take(1)).subscribe(first.append)
    shared.pipe(ops.map(lambda change: change)).subscribe(others.append, on_completed=completed.set)
    shared.connect()
    assert completed.wait(PATIENCE)
    assert len(first) == 1
    assert len(others) == 5
    again = []
    rxd.run(rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False), again.append)
    assert again == []


def test_operators_with_methods_of_their_own_keep_them():
    sim = SimulatedStream()
    published = rxd.changes(sim.arn, client=sim.client).pipe(ops.publish())
    assert isinstance(published, reactivex.ConnectableObservable)


@pytest.mark.parametrize("checkpoints", [None, rxd.MemoryCheckpoints()], ids=["no store", "a store"])
def test_every_stage_refuses_a_coroutine_function(checkpoints):
    sim = SimulatedStream()
    source = rxd.changes(sim.arn, client=sim.client, checkpoints=checkpoints)

    async def handle(change):
        raise AssertionError

    for pipeline in (source, source.pipe(ops.map(str)), rxd.shards(sim.arn, client=sim.client)):
        with pytest.raises(rxd.errors.ConfigurationError, match="aiterate"):
            pipeline.subscribe(handle)
    assert sim.calls.total() == 0


def test_a_function_that_returns_a_coroutine_ends_the_stream_and_its_change_is_not_done():
    sim, store = SimulatedStream(), rxd.MemoryCheckpoints()
    sim.put("item")

    async def handle(change):
        raise AssertionError

    errors = []
    source = rxd.changes(
        sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, follow=False, poll=QUICK
    )
    source.pipe(ops.map(lambda change: change)).subscribe(lambda change: handle(change), errors.append)
    wait_until(lambda: errors)
    assert "on_next is a coroutine function" in str(errors[0])
    again = []
    rxd.run(rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False), again.append)
    assert len(again) == 1


class Handling(Observer):
    def __init__(self):
        super().__init__()

    async def _on_next_core(self, value):
        raise AssertionError


async def never_awaited(element):
    raise AssertionError


WRAPPED = {
    "a function": never_awaited,
    "an observer": Observer(never_awaited),
    "its on_next": Observer(never_awaited).on_next,
    "a hidden observer": Observer(never_awaited).as_observer(),
    "RxPY's own": AutoDetachObserver(never_awaited),
    "an observer of one's own": Handling(),
}


@pytest.mark.parametrize("handle", WRAPPED.values(), ids=WRAPPED)
def test_a_coroutine_function_is_refused_wherever_it_is_called_from(handle):
    sim = SimulatedStream()
    for source in (rxd.changes(sim.arn, client=sim.client), rxd.shards(sim.arn, client=sim.client)):
        with pytest.raises(rxd.errors.ConfigurationError, match="aiterate"):
            source.subscribe(handle)
        # There, RxPY's trampoline runs.
        with pytest.raises(rxd.errors.ConfigurationError, match="aiterate"):
            reactivex.of(1).subscribe(lambda _, source=source: source.subscribe(handle))
    if isinstance(handle, Observer):
        with pytest.raises(rxd.errors.ConfigurationError, match="events is a coroutine"):
            rxd.changes(sim.arn, client=sim.client, events=handle)
        with pytest.raises(rxd.errors.ConfigurationError, match="late is a coroutine"):
            dops.window(dops.tumbling(5), late=handle)
    with pytest.raises(rxd.errors.ConfigurationError, match="on_next is a coroutine"):
        rxd.run(reactivex.of(1), getattr(handle, "on_next", handle))
    assert sim.calls.total() == 0


@pytest.mark.parametrize(
    "wrapped",
    [lambda handle: handle, Observer, AutoDetachObserver],
    ids=["function", "Observer", "RxPY's own"],
)
def test_a_shards_subscriber_that_returns_coroutines_has_nothing_done(wrapped):
    sim, store = SimulatedStream(), rxd.MemoryCheckpoints(count=1)
    for n in range(5):
        sim.put("item", n=n)
    errors = []
    source = rxd.shards(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, poll=QUICK)
    subscription = source.subscribe(
        lambda shard: shard.subscribe(wrapped(lambda change: never_awaited(change))), errors.append
    )
    wait_until(lambda: errors)
    subscription.dispose()
    assert "on_next is a coroutine function" in str(errors[0])
    again = []
    rxd.run(rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False), again.append)
    assert len(again) == 5


def test_what_a_library_has_made_is_called_as_it_is():
    seen = []

    def library(change):
        seen.append(change)

    library.__module__ = "reactivex.operators._map"
    assert taker_unless_known(library, "on_next") is library
    observer = AutoDetachObserver(library)
    assert taker_unless_known(observer.on_next, "on_next") == observer.on_next
