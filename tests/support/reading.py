"""Helpers for tests that read a simulated stream in virtual time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

from botocore.exceptions import ClientError
from reactivex.disposable import SerialDisposable
from reactivex.testing import TestScheduler

import rxddbstream as rxd
from rxddbstream.testing import SimulatedStream


@dataclass
class Reader:
    """Subscribes at once, and keeps what it is told."""

    sim: SimulatedStream
    scheduler: TestScheduler
    options: dict[str, Any] = field(default_factory=dict)
    client: Any = None
    changes: list[rxd.Change] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    events: list[rxd.Event] = field(default_factory=list)
    error: Exception | None = None
    completed: bool = False

    def __post_init__(self) -> None:
        self.subscription = SerialDisposable()
        source = rxd.changes(
            self.sim.arn,
            client=self.client or self.sim.client,
            scheduler=self.scheduler,
            events=self.events.append,
            **self.options,
        )
        self.subscription.disposable = source.subscribe(self._take, self._fail, self._complete)

    def _take(self, change: rxd.Change) -> None:
        self.changes.append(change)
        self.times.append(self.scheduler.now.timestamp())

    def _fail(self, error: Exception) -> None:
        self.error = error

    def _complete(self) -> None:
        self.completed = True

    def advance(self, seconds: float) -> None:
        self.scheduler.advance_by(seconds)

    @property
    def records(self) -> list[Any]:
        return [change.record for change in self.changes]

    @property
    def ids(self) -> list[Any]:
        """The delivered changes' event IDs, in order."""
        return [change.event_id for change in self.changes]

    def by_item(self) -> dict[str, list[str]]:
        """For each item, the sequence numbers of its changes in the order of delivery."""
        return by_item(self.records)

    def shards_opened(self) -> list[str]:
        return [event.shard.id for event in self.events if isinstance(event, rxd.ShardOpened)]


def read(sim: SimulatedStream, scheduler: TestScheduler, *, client: Any = None, **options: Any) -> Reader:
    return Reader(sim, scheduler, options, client)


def by_item(records: list[Any]) -> dict[str, list[str]]:
    items: dict[str, list[str]] = {}
    for record in records:
        key = str(record["dynamodb"]["Keys"])
        items.setdefault(key, []).append(record["dynamodb"]["SequenceNumber"])
    return items


def ids(records: list[Any]) -> list[str]:
    return [record["eventID"] for record in records]


def assert_parents_first(
    events: list[rxd.Event], sim: SimulatedStream, passed_over: Collection[str] = ()
) -> None:
    """No shard was opened before its parent was closed; parents that are not there do not count."""
    parents = {shard.id: None if shard.id in passed_over else shard.parent_id for shard in sim.shards}
    closed: set[str] = set()
    opened: set[str] = set()
    for event in events:
        if isinstance(event, rxd.ShardClosed):
            closed.add(event.shard.id)
        if isinstance(event, rxd.ShardOpened):
            parent = parents.get(event.shard.id)
            assert parent not in parents or parent in closed, f"{event.shard.id} before {parent}"
            assert event.shard.id not in opened, f"{event.shard.id} opened twice"
            opened.add(event.shard.id)


class StaleListing:
    """A client whose listing lags behind: it hides shards, or shows closed ones as open, for a while.

    Args:
        sim: the stream.
        scheduler: whose clock counts.
        hidden: shard ID to the time (in seconds) from which it is listed.
        still_open: shard ID to the time from which it is listed as closed.
    """

    def __init__(self, sim, scheduler, *, hidden=None, still_open=None):
        self._sim = sim
        self._scheduler = scheduler
        self._hidden = hidden or {}
        self._still_open = still_open or {}

    def __getattr__(self, name):
        return getattr(self._sim.client, name)

    def describe_stream(self, **arguments):
        answer = self._sim.client.describe_stream(**arguments)
        if "StreamDescription" not in answer:
            return answer
        now = self._scheduler.now.timestamp()
        shards = []
        for shard in answer["StreamDescription"]["Shards"]:
            if now < self._hidden.get(shard["ShardId"], 0):
                continue
            if now < self._still_open.get(shard["ShardId"], 0):
                numbers = {"StartingSequenceNumber": shard["SequenceNumberRange"]["StartingSequenceNumber"]}
                shard = {**shard, "SequenceNumberRange": numbers}
            shards.append(shard)
        return {**answer, "StreamDescription": {**answer["StreamDescription"], "Shards": shards}}


class SetBack:
    """A scheduler whose wall clock can be set back, while time goes on."""

    def __init__(self, scheduler):
        self._scheduler = scheduler
        self.by = timedelta(0)

    @property
    def now(self):
        return self._scheduler.now - self.by

    def __getattr__(self, name):
        return getattr(self._scheduler, name)


class Dated:
    """A client whose answers have the service's time, in whole seconds, as AWS's have."""

    def __init__(self, sim, clock):
        self._sim = sim
        self._clock = clock

    def __getattr__(self, name):
        call = getattr(self._sim.client, name)

        def dated(**arguments):
            date = format_datetime(self._clock.now, usegmt=True)
            try:
                answer = call(**arguments)
            except ClientError as error:
                error.response["ResponseMetadata"]["HTTPHeaders"] = {"date": date}
                raise
            return {**answer, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}

        return dated


class Mortal:
    """A store whose process can die: then it takes nothing more."""

    period = 5.0
    count = 1000

    def __init__(self, store: rxd.MemoryCheckpoints) -> None:
        self._store = store
        self.alive = True

    def load(self, stream: str) -> Mapping[str, str]:
        return self._store.load(stream)

    def save(self, stream: str, positions: Mapping[str, str]) -> None:
        if self.alive:
            self._store.save(stream, positions)

    def forget(self, stream: str, shard_ids: Collection[str]) -> None:
        if self.alive:
            self._store.forget(stream, shard_ids)

    def close(self, stream: str) -> None:
        pass
