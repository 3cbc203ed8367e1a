"""What a store of positions is; `memory.py`, `sqlite.py` and `dynamodb.py` are some.

A store keeps texts by stream and shard. What they mean is told in `codec.py`; a store need only know that a
greater text is a later position.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from rxddbstream.errors import CheckpointLocked

PERIOD = 5.0
COUNT = 1000


class InUseHere(CheckpointLocked):
    """A subscription of this process uses them, which may be about to end."""


class CheckpointStore(Protocol):
    """Where one consumer keeps its positions. Write your own by giving a class these members.

    The methods are called one at a time, from several threads; where one object is used for several streams,
    one at a time for each. They raise `CheckpointError` for what will not pass, and `TransientError` for what
    may; a failed write is made again with the next one.

    A write need not be all or nothing. One that is cut must have written the first texts, and not the last:
    their order is such that a crash in between does no harm. After it the store gets fewer texts at a time.

    Which streams a table has had is kept in the same way, under a name made of the table's ARN: that is one
    more stream to the store.

    A method `renew(stream)`, which need not be there, is called once a period where nothing is saved: for a
    store that shows others that its consumer is alive.

    Attributes:
        period: seconds between two writes, at most.
        count: changes between two writes, at most.
    """

    period: float
    count: int

    def load(self, stream: str) -> Mapping[str, str]:
        """Take the store into use for a stream; the texts by shard ID, as far as there are any."""
        ...

    def save(self, stream: str, positions: Mapping[str, str]) -> None:
        """Keep these texts, each only where it is greater than the one that is there."""

    def forget(self, stream: str, shard_ids: Collection[str]) -> None:
        """Drop the texts of shards that the service no longer has, and others that were saved."""

    def close(self, stream: str) -> None:
        """Let others use the store for this stream; called once for each `load`."""
