"""When checkpoints are written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from reactivex.testing import TestScheduler
from support.checkpoints import NOW, STREAM, writer_of
from support.interleaving import at_once

import rxddbstream as rxd
from rxddbstream.checkpoints.codec import from_texts
from rxddbstream.checkpoints.writer import Writer
from rxddbstream.model.position import TrimHorizon


class Busy(TestScheduler):
    """Does what is to be done at once when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Any] = []

    def schedule(self, action: Any, state: Any = None) -> Any:
        self.waiting.append(action)

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        for action in waiting:
            action(self, None)


@pytest.fixture
def scheduler() -> Busy:
    return Busy()


@pytest.fixture
def store() -> rxd.MemoryCheckpoints:
    return rxd.MemoryCheckpoints(count=100)


@pytest.fixture
def writer(scheduler: Busy, store: rxd.MemoryCheckpoints) -> Writer:
    writer = writer_of(store, scheduler)
    writer.load()
    writer.frontier("shard-1", TrimHorizon(), lambda: NOW)
    return writer


def test_one_write_waits_at_most_however_many_changes_are_delivered_meanwhile(writer, scheduler):
    for _ in range(50):
        writer.delivered(60)
    assert len(scheduler.waiting) == 1
    scheduler.run()
    writer.delivered(99)
    assert scheduler.waiting == []
    writer.delivered(1)
    assert len(scheduler.waiting) == 1


def test_the_sign_of_life_is_that_of_the_shard_that_was_answered_of_least_lately(writer, store):
    # Of one in which nothing is done the service would not tell that its changes are gone.
    writer.frontier("shard-2", TrimHorizon(), lambda: NOW - timedelta(minutes=7))
    writer.frontier("shard-3", TrimHorizon(), lambda: NOW - timedelta(minutes=3))
    writer.flush()
    assert from_texts(store.load(STREAM)).seen == NOW - timedelta(minutes=7)


def test_what_is_forgotten_is_written_when_it_comes_again(writer, store):
    writer.flush()
    writer.forget(["shard-1"])
    assert "shard-1" not in store.load(STREAM)
    writer.flush()  # the text is the same as before
    assert store.load(STREAM)["shard-1"] == "0 TRIM_HORIZON"


def test_changes_that_two_threads_deliver_at_once_are_all_counted(store: rxd.MemoryCheckpoints) -> None:
    def make() -> Any:
        scheduler = Busy()
        writer = writer_of(store, scheduler)

        def check() -> None:
            assert len(scheduler.waiting) == 1

        return lambda: writer.delivered(50), lambda: writer.delivered(50), check

    at_once(make)
