"""observe_on: a scheduler that ends while it has something to do."""

from __future__ import annotations

import asyncio
import threading

import pytest
from reactivex.internal.exceptions import DisposedException
from reactivex.scheduler import EventLoopScheduler
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler
from support.waiting import PATIENCE, wait_until

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import ConfigurationError
from rxddbstream.scheduling import queue
from rxddbstream.testing import SimulatedStream


class Busy(TestScheduler):
    """Takes work, which it does when it is told to; nothing more once it is disposed."""

    def __init__(self):
        super().__init__()
        self.taken = []
        self.is_disposed = False

    def schedule(self, action, state=None):
        if self.is_disposed:
            raise DisposedException
        self.taken.append(action)

    def work(self):
        taken, self.taken = self.taken, []
        for action in taken:
            action(self, None)


@pytest.fixture
def source():
    return Subject()


def observed(source, scheduler, **options):
    told = []
    source.pipe(dops.observe_on(scheduler, **options)).subscribe(
        told.append, told.append, lambda: told.append("|")
    )
    return told


def is_told(told):
    [error] = told
    assert isinstance(error, ConfigurationError)
    assert str(error).startswith("the scheduler of observe_on takes no more work (")
    return True


def test_the_next_element_tells_of_a_scheduler_that_was_disposed_with_work_in_it(source):
    scheduler = Busy()
    told = observed(source, scheduler)
    source.on_next(1)
    scheduler.is_disposed = True
    source.on_next(2)  # at once, a scheduler may only be busy
    assert told == []
    scheduler.advance_by(1)
    source.on_next(3)
    assert is_told(told)
    assert not source.observers


def test_one_that_is_busy_is_asked_once_a_second_and_loses_nothing(source):
    scheduler = Busy()
    told = observed(source, scheduler)
    for n in range(100):
        source.on_next(n)
        scheduler.advance_by(0.1)
    assert len(scheduler.taken) <= 1 + 10
    scheduler.work()
    scheduler.work()
    assert told == [*range(100)]
    source.on_next(100)
    assert len(scheduler.taken) == 1
    scheduler.work()
    source.on_completed()


@pytest.mark.parametrize(
    "wait", [lambda source: source.on_next(2), Subject.on_completed], ids=["full", "at the end"]
)
def test_a_source_that_waits_tells_of_it(source, monkeypatch, wait):
    monkeypatch.setattr(queue, "WATCH_EVERY", 0.01)
    scheduler = Busy()
    told = observed(source, scheduler, max_pending=1)
    source.on_next(1)
    waiting = threading.Thread(target=wait, args=[source], daemon=True)
    waiting.start()
    wait_until(lambda: len(scheduler.taken) > 3)  # it is asked, and is only busy
    assert told == []
    scheduler.is_disposed = True
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert is_told(told)


def disposed_event_loop():
    scheduler, busy, go_on = EventLoopScheduler(), threading.Event(), threading.Event()

    def block(*_):
        busy.set()
        go_on.wait(PATIENCE)

    scheduler.schedule(block)
    assert busy.wait(PATIENCE)
    return scheduler, lambda: (scheduler.dispose(), go_on.set())


def closed_event_loop():
    loop = asyncio.new_event_loop()
    return AsyncIOThreadSafeScheduler(loop), loop.close


@pytest.mark.parametrize("make", [disposed_event_loop, closed_event_loop])
def test_the_changes_in_it_come_again(monkeypatch, make):
    monkeypatch.setattr(queue, "WATCH_EVERY", 0.01)
    sim, store, told = SimulatedStream(), rxd.MemoryCheckpoints(count=1), []
    for n in range(20):
        sim.put("item", n=n)
    scheduler, end = make()
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store)
    in_hand = source.pipe(dops.observe_on(scheduler, max_pending=5))
    in_hand.subscribe(told.append, told.append)
    wait_until(lambda: source.statistics().records)
    end()
    wait_until(lambda: told)
    assert is_told(told)
    again = []
    rxd.run(rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False), again.append)
    assert len(again) == 20
