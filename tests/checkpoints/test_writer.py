"""When checkpoints are written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from reactivex.testing import TestScheduler

import rxddbstream as rxd
from rxddbstream.checkpoints.writer import Keeper
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
def keeper(scheduler: Busy) -> Keeper:
    store = rxd.MemoryCheckpoints(count=100)
    keeper = Keeper(
        store,
        "stream",
        alive=lambda: NOW,
        emitted=dict,
        scheduler=scheduler,
        emit=print,
        on_failure=print,
    )
    keeper.load()
    keeper.frontier("shard-1", TrimHorizon(), lambda: NOW)
    return keeper


def test_one_write_waits_at_most_however_many_changes_are_delivered_meanwhile(keeper, scheduler):
    for _ in range(50):
        keeper.delivered(60)
    assert len(scheduler.waiting) == 1
    scheduler.run()
    keeper.delivered(99)
    assert scheduler.waiting == []
    keeper.delivered(1)
    assert len(scheduler.waiting) == 1
