"""A stream's shards as they are listed at one time: what `rxd.lineage` returns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rxddbstream.model.shard import Shard
from rxddbstream.model.words import counted, table_of
from rxddbstream.views import drawing
from rxddbstream.views.listed import ListedShard, ShardContent, iso_text, opened_at


@dataclass(frozen=True, slots=True, repr=False)
class ShardTree:
    """A stream's shards, each below the one that it continues.

    `print` it for a tree; a notebook shows it by itself.

    Attributes:
        stream: the stream's ARN.
        listed_at: the service's time of the listing.
        shards: each once, in the order of the listing.

    >>> from datetime import UTC
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
            "listed_at": iso_text(self.listed_at),
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
