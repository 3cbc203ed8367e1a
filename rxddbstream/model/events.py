"""What happens beside the data: the events that `events=` is told of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from rxddbstream.errors import TransientError
from rxddbstream.model.position import Position
from rxddbstream.model.shard import Shard


class ShardOpened(NamedTuple):
    """A shard begins to be read: from now on, nothing that is written to it is missed.

    Attributes:
        shard: the shard.
        position: where reading begins.
    """

    shard: Shard
    position: Position


class ShardClosed(NamedTuple):
    """A shard has been read to its end, and every change of it has been delivered.

    With `follow=False` the end of an open shard is what was written before subscribing.
    """

    shard: Shard


class Retrying(NamedTuple):
    """A call failed, and will be made again.

    Attributes:
        shard_id: the shard it was for; None for a call about the stream.
        error: why.
        attempt: failures in a row, from 1.
        delay: seconds until the next try.
    """

    shard_id: str | None
    error: TransientError
    attempt: int
    delay: float


class Throttled(NamedTuple):
    """A call failed because there were too many; fields as in `Retrying`."""

    shard_id: str | None
    error: TransientError
    attempt: int
    delay: float


class Gap(NamedTuple):
    """Changes of a shard were lost before they could be read.

    Attributes:
        shard_id: the shard.
        after: sequence number of the last change that was read of it, None when there was none.
        reason: what happened, in words.
    """

    shard_id: str
    after: str | None
    reason: str


class Checkpointed(NamedTuple):
    """Checkpoints were written.

    Attributes:
        positions: the texts that changed, by shard ID; see `rxddbstream.checkpoints.codec`.
    """

    positions: Mapping[str, str]


Event: TypeAlias = ShardOpened | ShardClosed | Retrying | Throttled | Gap | Checkpointed
"""What `events=` is told."""
