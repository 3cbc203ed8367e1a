"""When an element is done, though several threads are through with it at once."""

from __future__ import annotations

import pytest
from reactivex.observer import AutoDetachObserver
from support.interleaving import at_once

from rxddbstream.checkpoints.acknowledgement import Counted, current, delivering, hand_on
from rxddbstream.checkpoints.guard import Guard, Subscriber


def test_it_is_done_once_it_was_settled_and_all_who_deferred_that_are_through():
    done = []
    delivery = Counted(lambda: done.append(True))
    one, other = delivery.defer(), delivery.defer()
    one()
    delivery.settle()
    assert done == []
    other()
    assert done == [True]


def test_who_hands_on_is_told_apart_on_each_level_and_what_raises_is_not_done():
    done, seen = [], []

    def inner(element):
        seen.append(current())
        raise ValueError(element)

    def outer(element):
        before = current()
        with pytest.raises(ValueError, match=element):
            hand_on(element, inner, lambda: done.append("inner"))
        assert current() is before

    hand_on("a", outer, lambda: done.append("outer"))
    assert len(seen) == 1
    assert done == ["outer"]
    assert current() is None


def test_two_that_defer_it_at_once_are_both_waited_for():
    def make():
        done = []
        delivery = Counted(lambda: done.append(True))

        def check():
            delivery.settle()
            delivery.settle()
            assert done == []
            delivery.settle()
            assert done == [True]

        return delivery.defer, delivery.defer, check

    at_once(make)


def test_of_two_that_are_through_at_once_the_last_one_has_it_done():
    def make():
        done = []
        delivery = Counted(lambda: done.append(True))
        through = delivery.defer()

        def check():
            assert done == [True]

        return delivery.settle, through, check

    at_once(make)


@pytest.mark.parametrize("first", ["dropped", "let go"])
def test_what_is_dropped_at_the_moment_at_which_all_is_let_go_is_not_waited_for(first):
    def make():
        done = []
        observer = AutoDetachObserver()
        observer.dispose()
        guard = Guard(observer)

        def drop():
            delivery = Counted(lambda: done.append(True))
            with delivering(delivery):
                guard.on_next("dropped")
            delivery.settle()

        def check():
            assert done == [True]

        return *((drop, guard.let_go) if first == "dropped" else (guard.let_go, drop)), check

    at_once(make)


def test_a_subscriber_that_is_through_in_two_ways_at_once_tells_it_once():
    def make():
        subscriber, told = Subscriber(), []
        subscriber.when_through(lambda: told.append(True))

        def check():
            assert told == [True]

        return subscriber.through, subscriber.through, check

    at_once(make)
