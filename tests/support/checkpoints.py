"""What tests of checkpoint stores share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from reactivex.testing import TestScheduler
from support.reading import Reader

import rxddbstream as rxd
from rxddbstream.checkpoints.writer import Writer
from rxddbstream.errors import Throttled, TransientError
from rxddbstream.testing import SimulatedStream

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-01-31T12:00:00.000"
OTHER = STREAM.replace("orders", "orders-2")
FIRST, SECOND, THIRD = "1 AFTER 0009", "1 AFTER 0010", "2 SHARD_END"
TABLE = "checkpoints"


def ready(store: rxd.CheckpointStore, stream: str = STREAM) -> dict[str, str]:
    """Load as the library does: again, as long as it may help."""
    for _ in range(10):
        try:
            return dict(store.load(stream))
        except TransientError:
            continue
    raise AssertionError("never ready")


def dynamodb_store(client: Any, consumer: str = "mailer") -> rxd.DynamoDBCheckpoints:
    return rxd.DynamoDBCheckpoints(TABLE, consumer=consumer, client=client)


def taken_over(store: rxd.DynamoDBCheckpoints, stream: str = STREAM) -> dict[str, str]:
    """Load after the crash of another process, whose claim shows no life any more."""
    times = iter(range(0, 10_000, 10))
    store._clock = lambda: float(next(times))
    return ready(store, stream)


def subscribed(sim: SimulatedStream, scheduler: TestScheduler, store: Any, **options: Any) -> Reader:
    return Reader(sim, scheduler, {"checkpoints": store, "start": "trim_horizon", **options})


class Own:
    """A store as a person would write one; fails as told."""

    period = 5.0
    count = 1000

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.log: list[str] = []
        self.fail: dict[str, list[Exception]] = {}

    def load(self, stream: str) -> dict[str, str]:
        self._called("load")
        return self.kept

    def save(self, stream: str, positions: Any) -> None:
        self._called("save")
        for shard_id, position in positions.items():
            self.kept[shard_id] = max(position, self.kept.get(shard_id, ""))

    def forget(self, stream: str, shard_ids: Any) -> None:
        self._called("forget")
        for shard_id in shard_ids:
            del self.kept[shard_id]

    def close(self, stream: str) -> None:
        self._called("close")

    def _called(self, name: str) -> None:
        self.log.append(name)
        if self.fail.get(name):
            raise self.fail[name].pop(0)


class Cut(Own):
    """Writes item by item, and is throttled after so many; a process that is killed is one whose `left` is 0.

    Attributes:
        left: how many items more it takes; None: any number.
    """

    left: int | None = None

    def save(self, stream: str, positions: Any) -> None:
        for shard_id, position in positions.items():
            if self.left is not None:
                if not self.left:
                    raise Throttled("slow down")
                self.left -= 1
            self.log.append(shard_id)
            self.kept[shard_id] = max(position, self.kept.get(shard_id, ""))


def writer_of(store: Any, scheduler: Any) -> Writer:
    """A writer by itself, of a stream that answers at noon."""
    return Writer(
        store, STREAM, alive=lambda: NOW, emitted=dict, scheduler=scheduler, emit=print, on_failure=print
    )
