"""What a shard's reader asks, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple, TypeAlias

from rxddbstream.model.position import Position
from rxddbstream.model.record import EncodedRecord
from rxddbstream.model.shard import Shard


class GetIterator(NamedTuple):
    """Ask for an iterator (GetShardIterator)."""

    position: Position


class GetRecords(NamedTuple):
    """Ask for a page (GetRecords)."""

    iterator: str


class LookUp(NamedTuple):
    """Ask what a page of the listing has of the shard (DescribeStream).

    Attributes:
        after: where the page starts: the `after` of the last answer.
    """

    after: str | None = None


Request: TypeAlias = GetIterator | GetRecords | LookUp


class Iterator(NamedTuple):
    """Answer to GetIterator.

    Attributes:
        value: the iterator.
        answered_at: the service's time of the answer.
    """

    value: str
    answered_at: datetime


class Records(NamedTuple):
    """Answer to GetRecords.

    Attributes:
        records: as boto3 has them, or as JSON; None when the answer had no list of them, not even an empty
            one.
        next_iterator: None or empty at the end of the shard.
        answered_at: the service's time of the answer.
    """

    records: Sequence[Mapping[str, Any] | EncodedRecord] | None
    next_iterator: str | None
    answered_at: datetime


class Listed(NamedTuple):
    """Answer to LookUp.

    Attributes:
        shard: the shard as it is listed now; None when this page lacks it.
        after: where the next page starts; None when this is the last one.
    """

    shard: Shard | None
    after: str | None = None


class Fault(Enum):
    """An answer which says that the position no longer holds."""

    EXPIRED = auto()
    TRIMMED = auto()
    NOT_FOUND = auto()
    REFUSED = auto()


Answer: TypeAlias = Iterator | Records | Listed | Fault
