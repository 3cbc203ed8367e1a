"""The stream itself: shards, and the records in them. No clock and no lock: times come in."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush
from itertools import count
from typing import Any

from rxddbstream.testing.records import Record, creation_time_of
from rxddbstream.testing.shapes import SimulatedShard, divide, shard_id

# Ten numbers on they gain a digit, so that whoever compares them as strings finds out early.
FIRST_SEQUENCE_NUMBER = 10**21 - 10
# A shard that is closed from the beginning has numbers of its own below that, so that its records
# come before its children's whenever a test puts them in.
HISTORY = 10**9


@dataclass(eq=False, slots=True)
class LogShard:
    """A shard and all that was ever written to it; its first `trimmed` records are out of reach.

    They are as boto3 has them, or as they came in JSON. `page_ends` are the places where a page ends whatever
    its size; mostly there are none. The records from `readable` on have not come out yet.
    """

    number: int  # its place among all shards that ever were
    id: str
    parent_id: str | None
    low: int
    high: int
    visible_at: datetime
    starting: int
    ending: int | None = None
    closed_at: datetime | None = None
    history: Iterator[int] | None = None
    trimmed: int = 0
    vanished: bool = False
    records: list[Any] = field(default_factory=list)
    page_ends: list[int] = field(default_factory=list)
    readable: int = sys.maxsize
    children: list[LogShard] = field(default_factory=list)

    def page_of(self, place: int) -> int:
        """Which of the pages that end at `page_ends` a place is in; their number, when it is in none."""
        return bisect_right(self.page_ends, place)

    def page(self, place: int, most: int) -> list[Any]:
        """The records from a place on: so many at most, and none of the next page."""
        number = self.page_of(place)
        return self.records[place : min(place + most, self.readable, *self.page_ends[number : number + 1])]

    def snapshot(self) -> SimulatedShard:
        return SimulatedShard(self.id, self.parent_id, self.ending is not None, self.low, self.high)


class StreamLog:
    """All shards and records of one stream.

    Attributes:
        shards: every shard that ever was, by ID; `numbered` holds the same ones by number.
        listed: those that have not vanished, by number.
        open: those that take new records, by the hashes that they own.
        written: every record that ever was, with its shard.
    """

    def __init__(self, shards: Iterable[SimulatedShard], now: datetime) -> None:
        self.shards: dict[str, LogShard] = {}
        self.numbered: list[LogShard] = []
        self.listed: list[LogShard] = []
        self.open: list[LogShard] = []
        self.written: list[tuple[LogShard, Record]] = []
        self._sequence_numbers = count(FIRST_SEQUENCE_NUMBER)
        self._trimmed = 0
        self._closed: list[tuple[datetime, int]] = []  # a heap of times and shard numbers
        shapes = list(shards)
        # A new shard must not take the name of a trimmed one, whose children are still here.
        gone = {shape.parent_id for shape in shapes}
        self._names = (
            name for name in map(shard_id, count()) if name not in self.shards and name not in gone
        )
        for shape, first in zip(
            shapes,
            count(FIRST_SEQUENCE_NUMBER - len(shapes) * HISTORY, HISTORY),
            strict=False,
        ):
            shard = self.add(shape.id, shape.parent_id, shape.low, shape.high, now, first)
            if shape.is_closed:
                shard.history = count(first)
                self.close(shard, now, first + HISTORY - 1)
            else:
                self.open.append(shard)
        self.open.sort(key=lambda shard: shard.low)

    def next_sequence_number(self, shard: LogShard) -> int:
        """The number of the next record of a shard."""
        if shard.ending is None:
            return next(self._sequence_numbers)
        if shard.history is None:
            raise ValueError(f"{shard.id} is closed, and was not when the simulation began")
        return next(shard.history)

    def owner(self, key_hash: int) -> LogShard:
        """The open shard that an item is written to."""
        position = bisect_right(self.open, key_hash, key=lambda shard: shard.low) - 1
        if position < 0 or key_hash >= self.open[position].high:
            raise RuntimeError("no open shard takes this item: it was closed, and has no successor")
        return self.open[position]

    def append(self, shard: LogShard, record: Record, now: datetime) -> None:
        shard.records.append(record)
        self.written.append((shard, record))
        if shard.ending is not None:  # history: as if the shard had been closed right after it
            self.close(shard, now, shard.ending)

    def succeed(self, shard: LogShard, heirs: int, now: datetime, visible_at: datetime) -> list[LogShard]:
        """Close a shard and divide what it owned among so many children."""
        if shard.ending is not None:
            raise ValueError(f"{shard.id} is closed already")
        if shard.high - shard.low < heirs:
            raise ValueError(f"{shard.id} owns too few hashes to be split")
        self.close(shard, now, next(self._sequence_numbers))
        children = [
            self.add(next(self._names), shard.id, low, high, visible_at, next(self._sequence_numbers))
            for low, high in divide(shard.low, shard.high, heirs)
        ]
        position = self.open.index(shard)
        self.open[position : position + 1] = children
        return children

    def trim(self, before: datetime) -> None:
        """Take the records before a time out of reach; shards that closed before it vanish."""
        while self._trimmed < len(self.written):
            shard, record = self.written[self._trimmed]
            if creation_time_of(record) >= before:
                break
            shard.trimmed += 1
            self._trimmed += 1
        vanished = False
        while self._closed and self._closed[0][0] < before:
            closed_at, number = heappop(self._closed)
            shard = self.numbered[number]
            if closed_at == shard.closed_at:  # else it was written to since, and stands there again
                shard.vanished = vanished = True
        if vanished:
            self.listed = [shard for shard in self.listed if not shard.vanished]

    def add(
        self,
        name: str,
        parent_id: str | None,
        low: int,
        high: int,
        visible_at: datetime,
        starting: int,
    ) -> LogShard:
        """There is another shard; its parent, if it is here, comes first."""
        if name in self.shards:
            raise ValueError(f"two shards with the same ID: {name}")
        number = len(self.numbered)
        shard = LogShard(number, name, parent_id, low, high, visible_at, starting)
        self.shards[name] = shard
        self.numbered.append(shard)
        self.listed.append(shard)
        if parent_id is not None and (parent := self.shards.get(parent_id)):
            parent.children.append(shard)
        return shard

    def close(self, shard: LogShard, now: datetime, ending: int) -> None:
        """A shard takes no more records."""
        shard.ending = ending
        if shard.closed_at != now:
            shard.closed_at = now
            heappush(self._closed, (now, shard.number))
