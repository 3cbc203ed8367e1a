"""What holds for all stores."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.checkpoints import FIRST, OTHER, SECOND, STREAM, TABLE, THIRD, ready

import rxddbstream as rxd
from rxddbstream.checkpoints.codec import to_text
from rxddbstream.model.position import After, AtTime, TrimHorizon


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], rxd.CheckpointStore]:
    """Makes a store on the same ground each time: as a process does that starts anew."""
    if request.param == "memory":
        memory = rxd.MemoryCheckpoints()
        return lambda: memory
    if request.param == "sqlite":
        return lambda: rxd.SqliteCheckpoints(tmp_path / "positions.db")
    client = request.getfixturevalue("dynamodb")
    return lambda: rxd.DynamoDBCheckpoints(TABLE, consumer="mailer", client=client)


def test_what_was_saved_is_there_after_the_store_was_closed(make):
    store = make()
    assert ready(store) == {}
    store.save(STREAM, {"shard-1": FIRST, "shard-2": THIRD})
    store.close(STREAM)
    again = make()
    assert ready(again) == {"shard-1": FIRST, "shard-2": THIRD}
    again.save(STREAM, {"shard-1": SECOND})
    again.close(STREAM)
    assert ready(make()) == {"shard-1": SECOND, "shard-2": THIRD}


def test_one_store_can_be_opened_again(make):
    store = make()
    for number in range(3):
        assert len(ready(store)) == number
        store.save(STREAM, {f"shard-{number}": FIRST})
        store.close(STREAM)


def test_a_position_never_moves_backwards(make):
    store = make()
    ready(store)
    for text in (FIRST, SECOND, FIRST, THIRD, SECOND):
        store.save(STREAM, {"shard-1": text, "shard-2": FIRST})
    store.close(STREAM)
    assert ready(make()) == {"shard-1": THIRD, "shard-2": FIRST}


def test_streams_are_kept_apart(make):
    for stream, text in ((STREAM, FIRST), (OTHER, SECOND)):
        store = make()
        ready(store, stream)
        store.save(stream, {"shard-1": text})
        store.close(stream)
    store = make()
    assert ready(store, OTHER) == {"shard-1": SECOND}
    store.forget(OTHER, ["shard-1"])
    store.close(OTHER)
    assert ready(make(), STREAM) == {"shard-1": FIRST}


def test_what_is_forgotten_is_gone_and_the_rest_is_not(make):
    store = make()
    ready(store)
    store.save(STREAM, {"shard-1": FIRST, "shard-10": FIRST, "shard-2": SECOND})
    store.forget(STREAM, ["shard-1", "shard-2", "shard-unknown"])
    store.forget(STREAM, [])
    store.save(STREAM, {})
    store.close(STREAM)
    assert ready(make()) == {"shard-10": FIRST}


def test_names_may_be_anything(make):
    names = ["*start", "shard/1", "'; DROP TABLE checkpoint; --", "Schlüssel", "shardId-000001"]
    store = make()
    ready(store)
    store.save(STREAM, dict.fromkeys(names, FIRST))
    store.close(STREAM)
    assert ready(make()) == dict.fromkeys(names, FIRST)


def test_many_shards(make):
    positions = {f"shardId-{number:020}": to_text(After(str(number))) for number in range(300)}
    store = make()
    ready(store)
    store.save(STREAM, positions)
    store.close(STREAM)
    assert ready(make()) == positions


def test_what_the_loaded_mapping_is_told_does_not_reach_the_store(make):
    store = make()
    ready(store)["shard-1"] = FIRST
    store.close(STREAM)
    assert ready(make()) == {}


def test_positions_as_text_are_in_their_order():
    times = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1, UTC)]
    order = [*map(AtTime, times), After("9"), After("10"), After("1" * 40), None]
    texts = [to_text(position) for position in order]
    assert texts == sorted(texts)
    assert to_text(TrimHorizon()) < to_text(After("0"))


def test_the_defaults_and_ones_own_period_and_count(make, tmp_path):
    store = make()
    assert (store.period, store.count) == (5.0, 1000)
    others = [
        rxd.MemoryCheckpoints(period=1.0, count=7),
        rxd.SqliteCheckpoints(tmp_path / "own.db", period=1.0, count=7),
        rxd.DynamoDBCheckpoints(TABLE, consumer="me", period=1.0, count=7),
    ]
    assert [(other.period, other.count) for other in others] == [(1.0, 7)] * 3
