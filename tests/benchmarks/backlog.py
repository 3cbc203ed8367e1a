"""A backlog of any size, made page by page as it is read: a double of boto3's client.

Its shards differ tenfold in how much was written to them, and again in how much comes in a page. So reading
each in turn moves the fastest through time a hundred times as fast as the slowest.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Raw
from support.windows import open_count

import rxddbstream as rxd
from benchmarks.records import ARN
from rxddbstream import operators as dops
from rxddbstream.aws.parser import RecordJSON
from rxddbstream.model.record import Detail
from rxddbstream.model.times import Seconds
from rxddbstream.windows.base import Closed, Took, Windows
from rxddbstream.windows.definitions import Windower
from rxddbstream.windows.folds import Fold

MINUTE = 60.0
DAY = 86_400.0
_SCATTER = 7919  # a prime: neighbours have different keys, and as many as there are keys in a row differ


@dataclass(frozen=True)
class BacklogShard:
    """What was written to one shard, evenly over the time.

    Attributes:
        id: its ID.
        first: the number of its first record among those of all shards.
        records: how many it has.
        page: how many come in an answer.
    """

    id: str
    first: int
    records: int
    page: int


class Backlog:
    """A stream of open shards that were written to until now.

    Args:
        records: how many there are in all.
        ends_at: when it ends.
        seconds: how long it took to be written.
        shards: how many.
        keys: how many items there are; each has as many records as the others.
        spread: how many times as much was written to one shard as to another, at most.
        pages: the fewest and the most records in an answer.

    Attributes:
        ahead: by how many seconds each shard was ahead of the last one, at most.
    """

    def __init__(
        self,
        records: int,
        *,
        ends_at: float,
        seconds: float = DAY,
        shards: int = 32,
        keys: int = 1000,
        spread: float = 10.0,
        pages: tuple[int, int] = (100, 1000),
    ) -> None:
        self.records = records
        self.shards = _shards(records, shards, spread, *pages)
        self._begins_at = math.floor(ends_at - seconds)
        self._seconds = seconds
        self._keys = keys
        self._by_id = {shard.id: shard for shard in self.shards}
        self._read_up_to = dict.fromkeys(self._by_id, float(self._begins_at))
        self.ahead = dict.fromkeys(self._by_id, 0.0)
        self._lock = threading.Lock()

    @property
    def longest_page(self) -> float:
        """Seconds that the changes of one answer are apart, at most."""
        return max(map(self._length_of_page, self.shards))

    @property
    def furthest(self) -> float:
        """By how many seconds a shard was ahead, at most, other than by the pages that it may have in hand.

        They are two: one that is delivered, and one that was asked for meanwhile.
        """
        return max(self.ahead[shard.id] - 2 * self._length_of_page(shard) for shard in self.shards)

    def _length_of_page(self, shard: BacklogShard) -> float:
        return shard.page * self._seconds / shard.records

    def time_of(self, shard: BacklogShard, number: int) -> float:
        """When the shard's record of that number was written: in whole seconds, as the service says it."""
        return float(self._begins_at + number * self._seconds // shard.records)

    def key_of(self, shard: BacklogShard, number: int) -> str:
        """Of which item it is."""
        return f"key-{(shard.first + number) * _SCATTER % self._keys}"

    def records_of(self, shard: BacklogShard, begin: int, end: int) -> list[RecordJSON]:
        """Some of its records."""
        return [self._record(shard, number, self.time_of(shard, number)) for number in range(begin, end)]

    def describe_stream(self, **_: Any) -> dict[str, Any]:
        numbers = {"StartingSequenceNumber": str(10**20)}
        shards = [{"ShardId": shard.id, "SequenceNumberRange": numbers} for shard in self.shards]
        return {"StreamDescription": {"StreamArn": ARN, "StreamStatus": "ENABLED", "Shards": shards}}

    def get_shard_iterator(self, **arguments: Any) -> dict[str, Any]:
        return {"ShardIterator": f"{arguments['ShardId']}|0"}

    def get_records(self, **arguments: Any) -> dict[str, Any]:
        shard_id, place = arguments["ShardIterator"].split("|")
        shard, begin = self._by_id[shard_id], int(place)
        end = min(begin + shard.page, shard.records)
        found = self.records_of(shard, begin, end)
        self._note(shard_id, self.time_of(shard, end - 1))
        return {"Records": found, "NextShardIterator": f"{shard_id}|{end}"}

    def _record(self, shard: BacklogShard, number: int, time: float) -> RecordJSON:
        keys = Raw(b'{"id":{"S":"%s"}}' % self.key_of(shard, number).encode())
        detail = Detail(created_at=time, keys=keys, sequence_number=str(10**20 + number))
        return RecordJSON(event_name="INSERT", detail=detail)

    def _note(self, shard_id: str, time: float) -> None:
        with self._lock:
            self._read_up_to[shard_id] = time
            self.ahead[shard_id] = max(self.ahead[shard_id], time - min(self._read_up_to.values()))


def _shards(records: int, number: int, spread: float, fewest: int, most: int) -> list[BacklogShard]:
    steps = [step / (number - 1) if number > 1 else 0.0 for step in range(number)]
    weights = [spread**step for step in steps]
    bounds = [round(records * sum(weights[:place]) / sum(weights)) for place in range(number + 1)]
    # In another order, so that all combinations of many records and large pages are there.
    sizes = [round(fewest * (most / fewest) ** steps[place * 13 % number]) for place in range(number)]
    return [
        BacklogShard(f"shardId-{place:020}-{place:08x}", first, end - first, size)
        for place, (first, end, size) in enumerate(zip(bounds[:-1], bounds[1:], sizes, strict=True))
    ]


class Watched(Windower):
    """Windows of a minute, whose largest number is noted.

    Attributes:
        most_open: how many were open at once, at most.
    """

    def __init__(self) -> None:
        self.most_open = 0

    @property
    def span(self) -> float:
        return MINUTE

    def windows(self, fold: Fold[Any, Any, Any], *, lateness: Seconds = 0.0) -> Windows[Any, Any, Any]:
        return _WatchedWindows(dops.tumbling(MINUTE).windows(fold, lateness=lateness), self)


class _WatchedWindows(Windows[Any, Any, Any]):
    def __init__(self, windows: Windows[Any, Any, Any], watched: Watched) -> None:
        self._windows = windows
        self._watched = watched
        self._add = windows.add

    def add(self, key: Any, time: float, item: Any, shard_id: str) -> Took:
        return self._add(key, time, item, shard_id)

    def advance(self, watermark: float) -> Closed[Any, Any, Any]:
        # There were never more than right before some of them close.
        self._watched.most_open = max(self._watched.most_open, open_count(self._windows))
        return self._windows.advance(watermark)

    def held(self) -> Sequence[Any]:
        return self._windows.held()

    def resumed_at(self, watermark: float) -> None:
        self._windows.resumed_at(watermark)


def key_of(change: rxd.Change) -> Any:
    """By what the windows are apart."""
    return change.keys["id"]
