"""A page: what one GetRecords call brought of one shard."""

from __future__ import annotations

from typing import NamedTuple

from rxddbstream.model.change import Change
from rxddbstream.model.origin import Origin


class Page(NamedTuple):
    """What one GetRecords call brought: changes of one shard, in order, at least one.

    Attributes:
        shard_id: the shard.
        changes: the changes.
        origin: the reading that they came from, which is told of their delivery.
    """

    shard_id: str
    changes: list[Change]
    origin: Origin
