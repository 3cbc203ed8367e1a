"""Who is told of the sources: whatever operator stands between, and whichever scheduler is given."""

from __future__ import annotations

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.scheduler import TimeoutScheduler
from reactivex.testing import TestScheduler

from rxddbstream.scheduling.within import Within, plain, replaced, tell_of


def telling(name, then=None):
    """A source that tells of itself."""

    def subscribe(observer, scheduler=None):
        tell_of(name, scheduler)
        return (then or reactivex.never()).subscribe(observer)

    return reactivex.create(subscribe)


def failing(name):
    return telling(name, reactivex.throw(ValueError(name)))


SOURCES = {
    "one": (telling("a"), ["a"]),
    "merge": (reactivex.merge(telling("a"), telling("b")), ["a", "b"]),
    "flat_map": (reactivex.of("a", "b").pipe(ops.flat_map(telling)), ["a", "b"]),
    "retry": (failing("a").pipe(ops.retry(3)), ["a", "a", "a"]),
    "catch": (failing("a").pipe(ops.catch(telling("b"))), ["a", "b"]),
    "concat": (reactivex.concat(telling("a", reactivex.empty()), telling("b")), ["a", "b"]),
    "switch": (reactivex.of(telling("a"), telling("b")).pipe(ops.switch_latest()), ["a", "b"]),
    "filter": (telling("a").pipe(ops.map(str), ops.filter(bool), ops.do_action(print)), ["a"]),
}


@pytest.mark.parametrize("how", SOURCES)
@pytest.mark.parametrize("given", [True, False])
def test_every_source_tells_of_itself_however_late_it_is_subscribed_to(how, given):
    source, expected = SOURCES[how]
    scheduler, told = TestScheduler(), []
    within = Within(scheduler if given else None, told.append)
    source.subscribe(on_error=lambda error: None, scheduler=within)
    scheduler.advance_by(10)

    assert told == expected


def test_operators_one_within_the_other_are_all_told():
    inner, outer, scheduler = [], [], TestScheduler()
    within = Within(Within(scheduler, outer.append), inner.append)
    tell_of("a", within)
    other = TestScheduler()
    tell_of("b", replaced(within, other))
    tell_of("c", scheduler)

    assert inner == outer == ["a", "b"]
    assert plain(within) is scheduler
    assert plain(replaced(within, other)) is other
    assert replaced(scheduler, other) is other
    assert plain(None) is None


def test_it_is_the_scheduler_that_it_was_given():
    scheduler, ran = TestScheduler(), []
    within = Within(scheduler, ran.append)
    within.schedule(lambda *_: ran.append(0))
    within.schedule_relative(3, lambda *_: ran.append(3))
    within.schedule_absolute(scheduler.now.timestamp() + 5, lambda *_: ran.append(5))
    scheduler.advance_by(4)

    assert within
    assert ran == [0, 3]
    assert within.now == scheduler.now


def test_without_one_operators_take_their_own():
    within = Within(None, print)

    assert not within
    assert within.now.tzinfo == TimeoutScheduler.singleton().now.tzinfo
