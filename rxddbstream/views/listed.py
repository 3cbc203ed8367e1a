"""A shard as it is listed, and what it was found to hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from rxddbstream.model.times import EPOCH

OLDEST_LISTED = timedelta(days=30)
"""An ID that tells of an earlier time than this before the listing is a stand-in's.

DynamoDB rolls a shard over within hours, and drops it 24 hours later; DynamoDB Local lists old ones for
longer. moto names all of them after one day in 2018.
"""
CLOCKS_DIFFER = timedelta(minutes=5)
_NAMED_BY_TIME = re.compile(r"shardId-(\d{20})-")


class ShardContent(NamedTuple):
    """What a shard was found to hold.

    Attributes:
        changes: how many.
        oldest: when the first of them was made; None without any.
        newest: when the last one was.
    """

    changes: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None

    def and_page(self, count: int, oldest: datetime | None, newest: datetime | None) -> ShardContent:
        """The same with a page more."""
        return ShardContent(self.changes + count, self.oldest or oldest, newest or self.newest)


@dataclass(frozen=True, slots=True)
class ListedShard:
    """A shard in a `ShardTree`.

    Attributes:
        id: the shard's ID.
        parent_id: the shard that it continues; None for the first of its line.
        is_open: whether changes are still written to it. One that has children takes no more, whatever the
            listing says.
        opened_at: since when there is such a shard, by its ID; None where the ID does not tell.
        content: what it holds; None where it was not read.
    """

    id: str
    parent_id: str | None
    is_open: bool
    opened_at: datetime | None = None
    content: ShardContent | None = None

    @property
    def state(self) -> str:
        """`"open"` or `"closed"`."""
        return "open" if self.is_open else "closed"

    def to_dict(self) -> dict[str, Any]:
        """As plain values; times are ISO 8601 in UTC."""
        values: dict[str, Any] = {
            "id": self.id,
            "parent_id": self.parent_id,
            "state": self.state,
            "opened_at": iso_text(self.opened_at),
        }
        if self.content is not None:
            values["changes"] = self.content.changes
            values["oldest"] = iso_text(self.content.oldest)
            values["newest"] = iso_text(self.content.newest)
        return values


def opened_at(shard_id: str, listed_at: datetime) -> datetime | None:
    """When a shard came to be, by its ID; None where that does not tell.

    AWS does not document it, so nothing may depend on it. The number in an ID such as
    `shardId-00000001414562045508-2bac9cd2` is that time in milliseconds; others go by it too:
    https://github.com/apache/flink-connector-aws/blob/main/flink-connector-aws/flink-connector-dynamodb/src/main/java/org/apache/flink/connector/dynamodb/source/util/ShardUtils.java

    >>> listed_at = datetime(2014, 10, 29, 8, tzinfo=UTC)
    >>> opened_at("shardId-00000001414562045508-2bac9cd2", listed_at).isoformat(timespec="seconds")
    '2014-10-29T05:54:05+00:00'
    >>> opened_at("shardId-00000001414562045508-2bac9cd2", datetime.now(UTC))  # of a stand-in
    """
    named = _NAMED_BY_TIME.match(shard_id)
    since_epoch = timedelta(milliseconds=int(named[1])) if named and int(named[1]) < 10**14 else None
    if since_epoch is None:
        return None
    time = EPOCH + since_epoch
    return time if -OLDEST_LISTED <= time - listed_at <= CLOCKS_DIFFER else None


def iso_text(time: datetime | None) -> str | None:
    """A time as ISO 8601 in UTC; None stays None."""
    return None if time is None else time.astimezone(UTC).isoformat()
