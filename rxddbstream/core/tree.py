"""A stream's shards as they are listed at one time: what `rxd.lineage` returns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from rxddbstream.core import drawing
from rxddbstream.model.shard import Shard
from rxddbstream.model.words import counted, table_of

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
            "opened_at": _iso(self.opened_at),
        }
        if self.content is not None:
            values["changes"] = self.content.changes
            values["oldest"] = _iso(self.content.oldest)
            values["newest"] = _iso(self.content.newest)
        return values


@dataclass(frozen=True, slots=True, repr=False)
class ShardTree:
    """A stream's shards, each below the one that it continues.

    `print` it for a tree; a notebook shows it by itself.

    Attributes:
        stream: the stream's ARN.
        listed_at: the service's time of the listing.
        shards: each once, in the order of the listing.

    >>> tree = ShardTree.of("orders", datetime.now(UTC), [Shard("b", parent_id="a"), Shard("a")])
    >>> print(tree)
    a    closed
    ↓ b  open
    >>> tree
    <ShardTree orders: 2 shards, 1 of them open>
    """

    stream: str
    listed_at: datetime
    shards: tuple[ListedShard, ...] = field(default=())

    @classmethod
    def of(
        cls,
        stream: str,
        listed_at: datetime,
        shards: Iterable[Shard],
        contents: Mapping[str, ShardContent] | None = None,
    ) -> ShardTree:
        """Build from a listing, and what was read."""
        known = {shard.id: shard for shard in shards}
        parents = {shard.parent_id for shard in known.values() if shard.parent_id != shard.id}
        read = contents or {}
        listed = (
            ListedShard(
                id=shard.id,
                parent_id=None if shard.parent_id == shard.id else shard.parent_id,
                is_open=not shard.is_closed and shard.id not in parents,
                opened_at=opened_at(shard.id, listed_at),
                content=read.get(shard.id),
            )
            for shard in known.values()
        )
        return cls(stream, listed_at, tuple(listed))

    def lines(self, *, ascii_only: bool = False) -> Iterator[str]:
        """The tree, a line for each shard.

        A shard that is the only one to continue another stands right below it, marked by an arrow; the
        shards of a split stand further in. One whose parent is not listed any more stands at the left, and
        names the parent.

        Args:
            ascii_only: for terminals that can show nothing else.
        """
        return drawing.tree(self.shards, self.listed_at, drawing.ASCII if ascii_only else drawing.BOX)

    def mermaid(self) -> str:
        """A Mermaid flowchart, which GitHub and notebooks draw.

        Of more than 300 shards, those in the middle of a line are drawn as one box.
        """
        return drawing.mermaid(self.shards, self.listed_at)

    def to_dict(self) -> dict[str, Any]:
        """As plain values; times are ISO 8601 in UTC."""
        return {
            "stream": self.stream,
            "listed_at": _iso(self.listed_at),
            "shards": [shard.to_dict() for shard in self.shards],
        }

    def to_json(self) -> str:
        """The same as JSON, on one line."""
        return json.dumps(self.to_dict())

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return f"<ShardTree {self._title}>"

    def _repr_html_(self) -> str:
        return drawing.html(self._title, self.shards, self.listed_at)

    @property
    def _title(self) -> str:
        is_open = sum(shard.is_open for shard in self.shards)
        return f"{table_of(self.stream)}: {counted(len(self.shards), 'shard')}, {is_open} of them open"


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
    time = datetime(1970, 1, 1, tzinfo=UTC) + since_epoch
    return time if -OLDEST_LISTED <= time - listed_at <= CLOCKS_DIFFER else None


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat()
