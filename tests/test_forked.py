"""`run`, `iterate`, `aiterate` in a child of a fork: it has none of their threads, and is told so."""

from __future__ import annotations

import asyncio
import os
from functools import partial

import pytest
from reactivex import operators as ops
from support.forking import forks, in_a_child, tell_and_exit, told

import rxddbstream as rxd
from rxddbstream.testing import SimulatedStream

pytestmark = forks

SAYS_SO = "ConfigurationError: the subscription was made before this process was forked"


@pytest.fixture
def sim():
    sim = SimulatedStream()
    for n in range(10):
        sim.put("item", n=n)
    return sim


@pytest.fixture
def store():
    return rxd.MemoryCheckpoints()


@pytest.fixture
def source(sim, store):
    return rxd.changes(
        sim.arn,
        client=sim.client,
        start="trim_horizon",
        follow=False,
        checkpoints=store,
        poll=rxd.Poll(fastest=0.01, slowest=0.02),
    )


def left_to_come(sim, store):
    again = []
    rxd.run(rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False), again.append)
    return len(again)


@pytest.mark.parametrize("taken", [0, 1])
def test_an_iterator(sim, store, source, taken):
    iterator = rxd.iterate(source)
    for _ in range(taken):
        next(iterator)
    assert in_a_child(lambda: next(iterator)).startswith(SAYS_SO)
    assert in_a_child(iterator.close) == ""
    assert len(list(iterator)) == 10 - taken  # in the parent it goes on
    assert left_to_come(sim, store) == 0


@pytest.mark.parametrize("taken", [1, 2])
def test_an_asynchronous_iterator(sim, store, source, taken):
    iterator = rxd.aiterate(source)

    async def take(count):
        return [await anext(iterator) for _ in range(count)]

    async def take_the_rest():
        return [change async for change in iterator]

    with asyncio.Runner() as runner:
        runner.run(take(taken))
        assert in_a_child(lambda: asyncio.run(take(1))).startswith(SAYS_SO)
        assert in_a_child(lambda: asyncio.run(iterator.aclose())) == ""
        assert len(runner.run(take_the_rest())) == 10 - taken
    assert left_to_come(sim, store) == 0


@pytest.mark.parametrize("where", ["on_next", "a map", "a filter"])
def test_run_whose_functions_fork(sim, store, source, where):
    parent, writers, texts, seen = os.getpid(), [], [], []

    def is_parent(change):
        if change.new_image["n"] == 3 and os.getpid() == parent:
            reader, writer = os.pipe()
            if os.fork() == 0:
                writers.append(writer)
            else:
                os.close(writer)
                texts.append(told(reader))
        return os.getpid() == parent

    forking = {
        "on_next": ops.map(lambda change: change),
        "a map": ops.map(lambda change: (is_parent(change), change)[1]),
        "a filter": ops.filter(is_parent),
    }[where]

    def observe(change):
        if where == "on_next":
            is_parent(change)
        seen.append(change)

    def consume():
        rxd.run(source.pipe(forking), observe)

    def end(error):
        raise error

    try:
        consume()
    except BaseException as error:
        if os.getpid() == parent:
            raise
        tell_and_exit(writers[0], partial(end, error))
    assert os.getpid() == parent
    [text] = texts
    assert text.startswith(SAYS_SO)
    assert len(seen) == 10
    assert left_to_come(sim, store) == 0
