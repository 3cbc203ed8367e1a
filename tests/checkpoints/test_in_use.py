"""One store, one subscription at a time to each stream."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import reactivex
from botocore.exceptions import ClientError
from reactivex import operators as ops
from support.checkpoints import Own, dynamodb_store, ready, subscribed

import rxddbstream as rxd
from rxddbstream.errors import CheckpointLocked, ConfigurationError
from rxddbstream.testing import SimulatedStream


@pytest.fixture(params=["memory", "own", "sqlite", "dynamodb"])
def any_store(request: pytest.FixtureRequest, path: Path) -> rxd.CheckpointStore:
    match request.param:
        case "memory":
            return rxd.MemoryCheckpoints()
        case "own":
            return Own()
        case "sqlite":
            return rxd.SqliteCheckpoints(path)
    store = dynamodb_store(request.getfixturevalue("dynamodb"))
    ready(store, "another stream")
    return store


def test_a_second_subscription_is_refused_while_the_first_lives(any_store, scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    first = subscribed(sim, scheduler, any_store)
    second = subscribed(sim, scheduler, any_store)
    sim.put("a")
    scheduler.advance_by(10)
    assert isinstance(second.error, CheckpointLocked)
    assert (len(first.changes), first.error, second.changes) == (1, None, [])
    first.subscription.dispose()
    sim.put("b")
    third = subscribed(sim, scheduler, any_store)
    scheduler.advance_by(10)
    assert (third.error, [change.keys["id"] for change in third.changes]) == (None, ["b"])
    third.subscription.dispose()


def test_two_streams_at_once_share_a_store(any_store, scheduler):
    if isinstance(any_store, Own):
        return  # keeps one stream's positions alone
    sims = [SimulatedStream(name, scheduler=scheduler) for name in ("orders", "customers")]
    readers = [subscribed(sim, scheduler, any_store) for sim in sims]
    for sim in sims:
        sim.put("a")
    scheduler.advance_by(10)
    for reader in readers:
        reader.subscription.dispose()
    assert [(len(reader.changes), reader.error) for reader in readers] == [(1, None)] * 2
    again = [subscribed(sim, scheduler, any_store) for sim in sims]
    scheduler.advance_by(10)
    assert [reader.changes for reader in again] == [[], []]


def test_who_subscribes_anew_waits_until_the_first_one_has_closed(path):
    """As `retry()` does, on another thread than the one that disposes."""
    sim, closing, go_on, errors = SimulatedStream(), threading.Event(), threading.Event(), []
    sim.put("a")

    class Slow(rxd.SqliteCheckpoints):
        def close(self, stream: str) -> None:
            closing.set()
            go_on.wait(10)
            super().close(stream)

    store = Slow(path)
    source = rxd.changes(sim.arn, client=sim.client, start="trim_horizon", checkpoints=store)
    first = source.subscribe()
    disposing = threading.Thread(target=first.dispose)
    disposing.start()
    assert closing.wait(10)
    waits, come = threading.Event(), threading.Event()
    again = rxd.changes(
        sim.arn,
        client=sim.client,
        start="trim_horizon",
        checkpoints=store,
        events=lambda event: waits.set() if isinstance(event, rxd.Retrying) else None,
    )
    second = again.subscribe(lambda _: come.set(), errors.append)
    assert waits.wait(10)
    go_on.set()
    disposing.join(10)
    sim.put("b")
    assert come.wait(10)
    second.dispose()
    assert errors == []


@pytest.mark.parametrize("_", range(10))
def test_retry_finds_the_store_free(path, _):
    denied: Any = {"Error": {"Code": "UnrecognizedClientException", "Message": "no"}}
    sim, got = SimulatedStream(shards=3), set()
    for number in range(30):
        sim.put(number)
    sim.script("GetRecords", None, ClientError(denied, "GetRecords"))
    source = rxd.changes(
        sim.arn,
        client=sim.client,
        start="trim_horizon",
        follow=False,
        checkpoints=rxd.SqliteCheckpoints(path),
        poll=rxd.Poll(fastest=0.01, slowest=0.02),
    )
    rxd.run(source.pipe(ops.retry(3)), lambda change: got.add(change.keys["id"]))
    assert len(got) == 30


def test_a_shard_is_subscribed_to_once_at_a_time(scheduler):
    sim, errors, seen = SimulatedStream(scheduler=scheduler), [], []
    sim.put("a")
    store = rxd.MemoryCheckpoints()
    found: list[rxd.ShardStream] = []
    options = {"client": sim.client, "scheduler": scheduler, "start": "trim_horizon", "checkpoints": store}
    subscription = rxd.shards(sim.arn, **options).subscribe(found.append)
    scheduler.advance_by(1)
    first = found[0].subscribe(seen.append)
    found[0].subscribe(seen.append, errors.append)
    scheduler.advance_by(10)
    assert len(seen) == 1
    assert isinstance(errors[0], ConfigurationError)
    assert str(errors[0]).startswith(f"shard {found[0].shard.id} is subscribed to twice at once")
    first.dispose()
    found[0].subscribe(seen.append, errors.append)
    scheduler.advance_by(10)
    assert (len(seen), len(errors)) == (2, 1)
    subscription.dispose()


def test_a_shard_may_be_shared_and_without_a_store_subscribed_to_twice(scheduler):
    sim, seen = SimulatedStream(scheduler=scheduler), []
    sim.put("a")

    def twice(shard: Any) -> Any:
        return reactivex.merge(shard, shard)

    options: Any = {"client": sim.client, "scheduler": scheduler, "start": "trim_horizon"}
    rxd.shards(sim.arn, **options).pipe(ops.flat_map(twice)).subscribe(seen.append)
    shared = rxd.shards(sim.arn, **options, checkpoints=rxd.MemoryCheckpoints())
    shared.pipe(ops.flat_map(lambda shard: shard.pipe(ops.publish(twice)))).subscribe(seen.append)
    scheduler.advance_by(10)
    assert len(seen) == 4
