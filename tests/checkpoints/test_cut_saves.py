"""A save may be cut between any two items, and a store may take few at a time."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings
from reactivex.testing import TestScheduler
from support.checkpoints import Cut, Own, subscribed

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.checkpoints.codec import to_text
from rxddbstream.checkpoints.writer import Writer
from rxddbstream.errors import TransientError
from rxddbstream.model.position import After, TrimHorizon
from rxddbstream.testing import SimulatedStream

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_log():
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def windows_of(sim: SimulatedStream, scheduler: TestScheduler, store: Any, emit: Any) -> Any:
    source = rxd.changes(
        sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon", checkpoints=store
    )
    return source.pipe(dops.fold_window(dops.tumbling(10), fold=dops.count())).subscribe(emit)


@settings(max_examples=60, deadline=None)
@example(shards=2, seconds=30, budgets=[1] * 12, writes=[1, 1])
@given(
    shards=st.integers(1, 3),
    seconds=st.integers(0, 30),
    budgets=st.lists(st.integers(0, 6), max_size=20),
    writes=st.lists(st.integers(0, 3), min_size=1, max_size=5),
)
def test_windows_never_come_again_in_part_wherever_a_save_was_cut(shards, seconds, budgets, writes):
    """The store is throttled for a while, item by item; then the process is killed."""
    scheduler = TestScheduler()
    sim, store = SimulatedStream("orders", scheduler=scheduler, shards=shards), Cut()
    emitted: dict[float, list[int]] = {}

    def emit(result: Any) -> None:
        emitted.setdefault(result.start.timestamp(), []).append(result.value)

    def a_second(number: int) -> None:
        for n in range(writes[number % len(writes)]):
            sim.put(f"{number}-{n}")
        scheduler.advance_by(1)

    first = windows_of(sim, scheduler, store, emit)
    scheduler.advance_by(3)
    for second in range(seconds):
        a_second(second)
    for number, budget in enumerate(budgets):
        store.left = budget
        a_second(seconds + number)
    store.left = 0
    first.dispose()
    store.left = None
    second = windows_of(sim, scheduler, store, emit)
    scheduler.advance_by(60)
    for _ in range(shards * 8):
        sim.put("last")
    scheduler.advance_by(60)
    second.dispose()
    assert all(len(set(values)) == 1 for values in emitted.values()), emitted


class Shards:
    """A writer, and the frontiers of so many shards, each of which moves on between two writes."""

    def __init__(self, store: Any, number: int) -> None:
        self.scheduler = TestScheduler()
        self.told: list[rxd.Checkpointed] = []
        self.failures: list[Exception] = []
        self.windows: dict[str, float] = {}
        self.writer = Writer(
            store,
            "stream",
            alive=lambda: NOW,
            emitted=lambda: self.windows,
            scheduler=self.scheduler,
            emit=self.told.append,
            on_failure=self.failures.append,
        )
        self.writer.load()
        self.frontiers = {
            f"shard-{n:03}": self.writer.frontier(f"shard-{n:03}", TrimHorizon(), lambda: NOW)
            for n in range(number)
        }

    def move(self, number: int) -> None:
        for frontier in self.frontiers.values():
            frontier.done = type("Done", (), {"sequence_number": str(number)})()  # type: ignore[assignment]


@settings(max_examples=30, deadline=None)
@given(number=st.integers(1, 25), budget=st.integers(1, 10), windows=st.integers(0, 5))
def test_a_throttled_store_starves_no_text(number, budget, windows):
    """However few get through at a time, each text is written as often as every other one."""
    store = Cut()
    shards = Shards(store, number)
    moves = 20 * (number + windows + 1)
    for move in range(1, moves):
        shards.move(move)
        shards.windows = {f"w{n}": float(move) for n in range(windows)}
        store.left = budget
        try:
            shards.writer.flush()
        except TransientError:
            continue
    kept = {key for key in store.kept if not key.startswith("*seen")}
    assert kept == {*shards.frontiers, *(f"*emitted w{n}" for n in range(windows))}
    counts = [store.log.count(shard_id) for shard_id in shards.frontiers]
    assert min(counts) > 1
    # The oldest one is from a batch or two ago, of which each save writes one text at least.
    oldest = min(int(store.kept[shard_id].rpartition(" ")[2]) for shard_id in shards.frontiers)
    assert moves - oldest <= 4 * (number + windows + 8)


def test_a_first_save_that_is_cut_goes_on_where_it_was(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler, shards=200), Cut()
    store.left = 10
    reader = subscribed(sim, scheduler, store, start="latest")
    sim.put("a")
    for _ in range(120):
        store.left = min(50, store.left + 10)
        scheduler.advance_by(1)
    assert len(reader.changes) == 1


def test_what_was_written_of_a_save_that_was_cut_is_told():
    store = Cut()
    shards = Shards(store, 4)
    for left in (2, 3):
        store.left = left
        with pytest.raises(TransientError):
            shards.writer.flush()
    assert [list(event.positions) for event in shards.told] == [["shard-000", "shard-001"]]
    store.left = None
    shards.move(7)
    shards.writer.flush()
    assert shards.told[1].positions == dict.fromkeys(shards.frontiers, to_text(After("7")))
    assert store.kept.items() >= shards.told[1].positions.items()


def test_a_shard_that_is_forgotten_is_not_written_any_more():
    store = Cut()
    shards = Shards(store, 2)
    shards.writer.flush()
    shards.move(7)
    store.left = 1
    with pytest.raises(TransientError):
        shards.writer.flush()
    store.left = None
    shards.writer._frontiers.pop("shard-001")
    shards.writer.forget(["shard-001"])
    shards.writer.flush()
    assert "shard-001" not in store.kept


def test_a_store_that_never_failed_gets_all_at_once():
    saves = []

    class Counting(Own):
        def save(self, stream: str, positions: Any) -> None:
            saves.append(len(positions))

    shards = Shards(Counting(), 3000)
    shards.writer.flush()
    assert saves == [3001]


def test_a_store_may_dispose_its_own_subscription_while_it_saves(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    reader = subscribed(sim, scheduler, store)
    save = store.save

    def disposing(stream: str, positions: Any) -> None:
        reader.subscription.dispose()
        save(stream, positions)

    sim.put("a")
    scheduler.advance_by(1)
    store.save = disposing  # type: ignore[method-assign]
    scheduler.advance_by(10)
    assert store.log[-1] == "close"
    assert store.log.count("close") == 1
    assert store.kept[reader.changes[0].shard_id] == to_text(After(reader.changes[0].sequence_number))


def test_a_store_is_renewed_where_nothing_is_saved():
    class Renewed(Cut):
        def renew(self, stream: str) -> None:
            self.log.append(f"renewed {stream}")

    store = Renewed()
    shards = Shards(store, 1)
    shards.writer.flush()
    assert "renewed stream" not in store.log
    shards.writer.flush()
    assert store.log.count("renewed stream") == 1
    shards.move(7)
    store.left = 0
    with pytest.raises(TransientError):
        shards.writer.flush()
    assert store.log.count("renewed stream") == 2
