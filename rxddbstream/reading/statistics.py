"""What a stream's subscriptions have done, counted."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from rxddbstream.model.record import EncodedRecord


class Statistics(NamedTuple):
    """What a stream's subscriptions have done; a snapshot. See `Stream.statistics`.

    Attributes:
        records: changes read from the service, before any operator of a pipeline.
        bytes: their size, as the service counts it.
        calls: GetRecords calls made, failed ones too.
        empty_calls: those of them that were answered without a record.
        retries: calls of any kind that failed and were, or will be, made again.
        late: changes that came to a window operator after all of their windows had closed.
        lag: by the ID of each shard being read, how many seconds the last change was behind the service's
            time when it was read; 0.0 once the shard has nothing new. An empty answer says that only at the
            shard's tip: until that was seen, the time since the last change, or since the start.
        watermark: up to which creation time all changes have been read; None before that is known.
    """

    records: int = 0
    bytes: int = 0
    calls: int = 0
    empty_calls: int = 0
    retries: int = 0
    late: int = 0
    lag: Mapping[str, float] = {}
    watermark: datetime | None = None


class HowFar(Protocol):
    """How far a subscription has come: its `Progress`."""

    @property
    def lag(self) -> Mapping[str, float]: ...
    @property
    def watermark(self) -> datetime | None: ...


class Counts:
    """The counts of all subscriptions to one stream; lag and watermark are those of the newest one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records = self._bytes = self._calls = self._empty_calls = self._retries = self._late = 0
        self._newest: HowFar | None = None

    def follow(self, newest: HowFar) -> None:
        """There is a new subscription."""
        self._newest = newest

    def called(self) -> None:
        """GetRecords is called."""
        with self._lock:
            self._calls += 1

    def answered(self, records: Collection[Mapping[str, Any] | EncodedRecord]) -> None:
        """It was answered with these."""
        size = sum(_size_of(record) for record in records)
        with self._lock:
            self._records += len(records)
            self._bytes += size
            self._empty_calls += not records

    def retried(self) -> None:
        """A call failed, and will be made again."""
        with self._lock:
            self._retries += 1

    def was_late(self) -> None:
        """A change came after its windows had closed."""
        with self._lock:
            self._late += 1

    def statistics(self) -> Statistics:
        """A snapshot."""
        newest = self._newest
        with self._lock:
            return Statistics(
                records=self._records,
                bytes=self._bytes,
                calls=self._calls,
                empty_calls=self._empty_calls,
                retries=self._retries,
                late=self._late,
                lag=newest.lag if newest is not None else {},
                watermark=newest.watermark if newest is not None else None,
            )


def _size_of(record: Mapping[str, Any] | EncodedRecord) -> int:
    if isinstance(record, EncodedRecord):
        return (record.detail and record.detail.size_bytes) or 0
    return (record.get("dynamodb") or {}).get("SizeBytes") or 0
