"""Where each shard begins."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from rxddbstream.model.position import AtTime, Latest, Position
from rxddbstream.model.shard import Shard
from rxddbstream.protocol.lineage import Ready


def first_positions(
    start: Position, listed_at: datetime, shards: list[Shard], ready: list[Ready]
) -> dict[str, Position | None]:
    """What "latest" means, to be kept: from then on in the open shards, and nothing of the others."""
    if not isinstance(start, Latest):
        return {}
    return {
        **{shard.id: None for shard in shards},
        **{shard.id: fixed(where, listed_at) for shard, where in ready},
    }


def fixed(position: Position, listed_at: datetime) -> Position:
    """The position as one that means the same place each time."""
    return AtTime(listed_at) if isinstance(position, Latest) else position


def resumed(kept: Mapping[str, Position | None], shards: list[Shard]) -> set[str]:
    """Shards of which something may have been missed since the last run, and no other shard would tell.

    They are those that were being read, and those that came since. A shard whose parent is still to be
    read is no older than what the service keeps.
    """
    to_be_read = {shard.id for shard in shards if kept.get(shard.id, shard) is not None}
    stopped_in = {shard_id for shard_id, position in kept.items() if position is not None}
    return stopped_in | {shard.id for shard in shards if shard.parent_id not in to_be_read}
