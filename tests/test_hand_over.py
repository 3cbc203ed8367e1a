"""What is handed over is done when the person's code is through with it, whatever the element is."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler
from reactivex.testing import TestScheduler
from support.waiting import PATIENCE

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import ConfigurationError, HeldTooLate
from rxddbstream.testing import SimulatedStream

QUICK = rxd.Poll(fastest=0.001, slowest=0.002)
COUNT = 24


class Boom(Exception):
    pass


def number_of(change):
    return int(change.new_image["n"])


def numbers_in(element):
    """The numbers of the changes that an element stands for."""
    match element:
        case rxd.Change():
            return [number_of(element)]
        case list():
            return [number for part in element for number in numbers_in(part)]
        case dops.WindowResult():
            return element.value
        case int():
            return [element]
    raise TypeError(type(element))


def appended(numbers, change):
    return [*numbers, number_of(change)]


ELEMENTS = {
    "changes": (),
    "numbers": (ops.map(number_of),),
    "some": (ops.filter(lambda change: number_of(change) % 3), ops.map(number_of)),
    "lists": (ops.buffer_with_count(3),),
    "lists of numbers": (dops.hold(), ops.buffer_with_count(3), dops.release(), ops.map(numbers_in)),
    "mapped lists": (ops.buffer_with_count(3), ops.map(numbers_in)),
    "nested lists": (ops.buffer_with_count(2), ops.buffer_with_count(2)),
    "pairs": (ops.pairwise(), ops.map(list)),
    "windows": (dops.fold_window(dops.tumbling(5), seed=list, fold=appended),),
    "mapped windows": (dops.fold_window(dops.tumbling(5), seed=list, fold=appended), ops.map(numbers_in)),
    "another thread": (dops.observe_on(EventLoopScheduler(), max_pending=4), ops.map(number_of)),
    "lists in another thread": (
        ops.buffer_with_count(3),
        dops.observe_on(EventLoopScheduler(), max_pending=4),
        ops.map(numbers_in),
    ),
    "windows in another thread": (
        dops.fold_window(dops.tumbling(5), seed=list, fold=appended),
        dops.observe_on(EventLoopScheduler(), max_pending=4),
        ops.map(numbers_in),
    ),
}


NEED_A_HOLD = ("lists", "mapped lists", "nested lists", "pairs")


def by_iterate(source, work, _):
    for element in rxd.iterate(source, max_pending=4):
        if not work(element):
            break


def by_iterate_and_an_exception(source, work, _):
    with contextlib.suppress(Boom):
        for element in rxd.iterate(source, max_pending=4):
            if not work(element):
                raise Boom


def by_aiterate(source, work, _):
    async def main():
        async with contextlib.aclosing(rxd.aiterate(source, max_pending=4)) as elements:
            async for element in elements:
                if not work(element):
                    break

    asyncio.run(main())


def by_run(source, work, _):
    def observe(element):
        if not work(element):
            raise Boom

    with contextlib.suppress(Boom):
        rxd.run(source, observe)


def by_take(source, work, left):
    rxd.run(source.pipe(ops.take(left + 1)), work)


STOPS = [by_iterate, by_iterate_and_an_exception, by_aiterate, by_run, by_take]


def run_until_done(operators, stop, lefts):
    """Run again and again, leaving each run in the middle of an element; what was worked on in each."""
    clock = TestScheduler()
    clock.advance_to(1_000_000.0)
    sim = SimulatedStream(scheduler=clock)
    for n in range(COUNT):
        sim.put("item", n=n)
        clock.advance_by(1.0)
    store, runs = rxd.MemoryCheckpoints(), []
    for left in [*lefts, None]:
        worked: list[list[int]] = []

        def work(element, worked=worked, left=left):
            if len(worked) == left:
                return False
            worked.append(numbers_in(element))
            return True

        source = rxd.changes(
            sim.arn, client=sim.client, start="trim_horizon", checkpoints=store, follow=False, poll=QUICK
        )
        stop(source.pipe(*operators), work, COUNT if left is None else left)
        runs.append([number for numbers in worked for number in numbers])
    return runs


def wanted(name):
    return {n for n in range(COUNT) if n % 3} if name == "some" else set(range(COUNT))


@pytest.mark.parametrize(
    ("name", "stop"),
    [
        (name, stop)
        for name in ELEMENTS
        for stop in STOPS
        if name not in NEED_A_HOLD or stop not in (by_run, by_take)  # which hand nothing over; see `hold`
    ],
)
@settings(max_examples=8)
@given(lefts=st.lists(st.integers(0, 5), max_size=3))
def test_nothing_is_done_before_its_element_is(name, stop, lefts):
    runs = run_until_done(ELEMENTS[name], stop, lefts)
    assert {n for run in runs for n in run} == wanted(name)
    for run in runs:
        assert run == sorted(run) or name == "pairs"


@pytest.mark.parametrize("name", ["numbers", "lists", "windows in another thread"])
def test_what_the_loop_came_back_from_is_done(name):
    first, second = run_until_done(ELEMENTS[name], by_iterate, [2])
    assert first
    if name != "windows in another thread":  # those that closed at one watermark are done together
        assert not set(first) & set(second)
    assert first[-1] < second[-1]


@pytest.mark.parametrize(
    "operators",
    [
        (ops.buffer_with_count(100),),
        (ops.buffer_with_count(100), ops.map(len)),
        (ops.buffer_with_count(100), ops.map(len), dops.observe_on(EventLoopScheduler())),
        (ops.delay(0.01),),
    ],
    ids=["list", "mapped list", "mapped list in another thread", "late"],
)
def test_what_was_kept_as_done_before_it_was_handed_over_ends_in_an_error(operators):
    sim, kept = SimulatedStream(), threading.Event()

    class Store(rxd.MemoryCheckpoints):
        def save(self, stream, positions):
            super().save(stream, positions)
            if any("AFTER" in text for text in positions.values()):
                kept.set()

    def write():
        for n in range(50):
            sim.put("item", n=n)
        assert kept.wait(PATIENCE)
        for n in range(50):
            sim.put("item", n=n)

    writer = threading.Thread(target=write)
    source = rxd.changes(
        sim.arn, client=sim.client, start="trim_horizon", checkpoints=Store(period=0.005), poll=QUICK
    )
    writer.start()
    elements = rxd.iterate(source.pipe(*operators))
    with pytest.raises(HeldTooLate, match=r"put hold\(\) before"):
        list(elements)
    writer.join()


def test_a_moving_window_stands_for_the_change_that_is_new_in_it():
    # The others have had an element of their own, and may be kept as done.
    sim, seen = SimulatedStream(), []
    source = rxd.changes(
        sim.arn,
        client=sim.client,
        start="trim_horizon",
        checkpoints=rxd.MemoryCheckpoints(period=0.001, count=1),
        poll=QUICK,
    )
    last_three = ops.scan(lambda last, change: [*last[-2:], change], [])
    sim.put("item", n=1)
    for length in rxd.iterate(source.pipe(last_three, ops.map(len))):
        seen.append(length)
        if len(seen) == 10:
            break
        sim.put("item", n=1)
    assert seen == [1, 2, *[3] * 8]


@pytest.mark.parametrize("loop", [by_iterate, by_aiterate])
def test_an_element_of_which_nobody_knows_what_it_stands_for_ends_in_an_error(loop):
    sim = SimulatedStream()
    sim.put("item", n=1)
    source = rxd.changes(
        sim.arn, client=sim.client, start="trim_horizon", checkpoints=rxd.MemoryCheckpoints(), poll=QUICK
    )
    with pytest.raises(HeldTooLate, match="came from another thread"):
        loop(source.pipe(ops.buffer_with_time(0.01), ops.filter(len), ops.map(len)), lambda _: True, None)


def test_without_a_store_nobody_asks():
    sim = SimulatedStream()
    sim.put("item", n=1)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", poll=QUICK)
    lengths = rxd.iterate(source.pipe(ops.buffer_with_time(0.01), ops.filter(len), ops.map(len)))
    assert next(lengths) == 1
    lengths.close()


async def coroutine_function(_):
    raise AssertionError


class Handler:
    async def __call__(self, _):
        raise AssertionError


@pytest.mark.parametrize("handler", [coroutine_function, partial(coroutine_function), Handler()])
def test_coroutine_functions_are_refused_at_once(handler):
    sim = SimulatedStream()
    with pytest.raises(ConfigurationError, match="events is a coroutine function"):
        rxd.changes(sim.arn, client=sim.client, events=handler)
    with pytest.raises(ConfigurationError, match="late is a coroutine function"):
        dops.window(dops.tumbling(60), late=handler)
    with pytest.raises(ConfigurationError, match="on_next is a coroutine function"):
        rxd.run(rxd.changes(sim.arn, client=sim.client), handler)
    assert sim.calls.total() == 0


def test_a_function_that_returns_a_coroutine_is_refused_and_its_change_comes_again():
    sim, store, again = SimulatedStream(), rxd.MemoryCheckpoints(), []
    sim.put("item", n=1)
    options = {"client": sim.client, "checkpoints": store, "follow": False, "poll": QUICK}
    with pytest.raises(ConfigurationError, match="on_next is a coroutine function"):
        rxd.run(
            rxd.changes(sim.arn, start="trim_horizon", **options), lambda change: coroutine_function(change)
        )
    rxd.run(rxd.changes(sim.arn, **options), again.append)
    assert len(again) == 1
