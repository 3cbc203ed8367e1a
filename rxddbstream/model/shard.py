"""A shard of a stream, and how long the service keeps what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

RETENTION = timedelta(hours=24)
"""How long the service keeps a change, and a shard after it was closed.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
"""


def outlived_retention(began: datetime, now: datetime) -> bool:
    """Whether what is gone at `now` may have been written after `began`.

    What the service drops within 24 hours of a beginning was there before it, and is not missed.
    """
    return now - began >= RETENTION


@dataclass(frozen=True, slots=True)
class Shard:
    """A piece of a stream, as DescribeStream lists it.

    Attributes:
        id: the shard's ID; an opaque string.
        parent_id: the shard that this one continues, None for the first of its line.
        ending_sequence_number: set once the shard is closed.
    """

    id: str
    parent_id: str | None = None
    ending_sequence_number: str | None = None

    @property
    def is_closed(self) -> bool:
        """Nothing more can be written to a closed shard."""
        return self.ending_sequence_number is not None

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Shard:
        """Build from one element of DescribeStream's `Shards`.

        A shard that is listed as its own parent (stand-ins for the service do that) has none.
        """
        shard_id: str = description["ShardId"]
        parent_id = description.get("ParentShardId") or None
        numbers = description.get("SequenceNumberRange") or {}
        return cls(
            id=shard_id,
            parent_id=None if parent_id == shard_id else parent_id,
            ending_sequence_number=numbers.get("EndingSequenceNumber") or None,
        )
