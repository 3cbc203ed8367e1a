"""A stream's shards, listed and drawn as a tree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rxddbstream.core.model import Shard

if TYPE_CHECKING:
    from rxddbstream.client import StreamClient


def tree(shards: Iterable[Shard]) -> Iterator[str]:
    """A line for each shard, its children below it and further in.

    A shard whose parent is not listed any more stands at the left, and names the parent.

    >>> print(*tree([Shard("b", parent_id="a"), Shard("a", ending_sequence_number="9")]), sep="\\n")
    a  closed
      b  open
    """
    known = {shard.id: shard for shard in shards}
    children: defaultdict[str, list[Shard]] = defaultdict(list)
    for shard in known.values():
        children[shard.parent_id or ""].append(shard)
    roots = [shard for shard in known.values() if shard.parent_id not in known]
    shown = set()
    # All of them after the roots, for those that no root leads to: a ring of parents.
    for root in [*roots, *known.values()]:
        branch = [(root, 0)]
        while branch:
            shard, depth = branch.pop()
            if shard.id in shown:
                continue
            shown.add(shard.id)
            # One that has children takes no more changes, whatever the listing says.
            state = "closed" if shard.is_closed or children[shard.id] else "open"
            is_orphan = shard.parent_id is not None and shard.parent_id not in known
            remark = f"  (parent {shard.parent_id} is not listed)" if is_orphan else ""
            yield f"{'  ' * depth}{shard.id}  {state}{remark}"
            branch += [(child, depth + 1) for child in reversed(children[shard.id])]


def list_all(client: StreamClient) -> Iterator[Shard]:
    """Every shard that the service lists."""
    page = client.list_shards()
    yield from page.shards
    while page.next_shard_id is not None:
        page = client.list_shards(after=page.next_shard_id)
        yield from page.shards
