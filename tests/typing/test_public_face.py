"""What type checkers infer of the public face; read by mypy --strict and pyright, and run by pytest.

Each `assert_type` fails the check when a type is lost on the way, say to `Any`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, assert_type

from reactivex import Observable
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.testing import SimulatedStream


def changes() -> Observable[rxd.Change]:
    return rxd.changes("orders", client=SimulatedStream().client)


def test_sources() -> None:
    assert_type(changes(), Observable[rxd.Change])
    client = SimulatedStream().client
    assert_type(rxd.shards("orders", client=client, start=timedelta(minutes=15)), rxd.Stream[rxd.ShardStream])


def test_lineage() -> None:
    tree = rxd.lineage("orders", client=SimulatedStream().client, read=True)
    assert_type(tree, rxd.ShardTree)
    [shard] = tree.shards
    assert_type(shard, rxd.ListedShard)
    assert_type(shard.opened_at, datetime | None)
    assert_type(shard.content, rxd.ShardContent | None)
    assert_type(tree.mermaid(), str)


def test_a_change() -> None:
    sim = SimulatedStream()
    change = rxd.Change(sim.put("a"), "shard-1")
    assert_type(change.event_name, str)
    assert_type(change.keys, Mapping[str, Any])
    assert_type(change.new_image, Mapping[str, Any] | None)
    assert_type(change.created_at, datetime)
    assert_type(change.is_ttl_delete, bool)


def test_operators_keep_the_type() -> None:
    # With a named function: of a lambda, RxPY's signatures do not let mypy infer the argument.
    def event_name(change: rxd.Change) -> str:
        return change.event_name

    held = changes().pipe(dops.hold())
    assert_type(held, Observable[rxd.Change])
    assert_type(held.pipe(ops.map(event_name)), Observable[str])
    batches = held.pipe(ops.buffer_with_count(100))
    assert_type(batches, Observable[list[rxd.Change]])
    assert_type(batches.pipe(dops.release()), Observable[list[rxd.Change]])
    assert_type(held.pipe(dops.hold(), ops.map(event_name)), Observable[str])
    elsewhere = changes().pipe(dops.observe_on(EventLoopScheduler(), max_pending=10))
    assert_type(elsewhere, Observable[rxd.Change])


def test_iterators() -> None:
    def never_run() -> None:
        assert_type(rxd.iterate(changes()), Iterator[rxd.Change])
        assert_type(rxd.aiterate(changes()), AsyncIterator[rxd.Change])

    assert callable(never_run)


class OwnStore:
    """A store of one's own is one by its members."""

    period = 1.0
    count = 10

    def load(self, stream: str) -> Mapping[str, str]:
        return {}

    def save(self, stream: str, positions: Mapping[str, str]) -> None: ...

    def forget(self, stream: str, shard_ids: Any) -> None: ...

    def close(self, stream: str) -> None: ...


def test_stores() -> None:
    stores: list[rxd.CheckpointStore] = [OwnStore(), rxd.MemoryCheckpoints()]
    for store in stores:
        rxd.changes("orders", client=SimulatedStream().client, checkpoints=store)


def test_events() -> None:
    def watch(event: rxd.Event) -> None:
        match event:
            case rxd.ShardOpened(shard, _):
                assert_type(shard, rxd.Shard)
            case rxd.Gap(shard_id, after, _):
                assert_type(shard_id, str)
                assert_type(after, str | None)
            case _:
                pass

    rxd.changes("orders", client=SimulatedStream().client, events=watch)
