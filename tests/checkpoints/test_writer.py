"""When checkpoints are written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from reactivex.testing import TestScheduler

import rxddbstream as rxd
from rxddbstream.checkpoints.writer import Writer
from rxddbstream.model.position import TrimHorizon

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


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
def writer(scheduler: Busy) -> Writer:
    store = rxd.MemoryCheckpoints(count=100)
    writer = Writer(
        store,
        "stream",
        alive=lambda: NOW,
        emitted=dict,
        scheduler=scheduler,
        emit=print,
        on_failure=print,
    )
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
