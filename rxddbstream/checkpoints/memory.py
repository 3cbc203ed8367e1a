"""Positions in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rxddbstream.checkpoints.store import COUNT, PERIOD


class MemoryCheckpoints:
    """Keeps positions as long as the object lives: a second subscription goes on where the first stopped.

    Args:
        period: seconds between two writes, at most.
        count: changes between two writes, at most.

    >>> store = MemoryCheckpoints()
    >>> store.save("stream", {"shard-1": "1 ...7"})
    >>> store.save("stream", {"shard-1": "1 ...5"})
    >>> store.load("stream")
    {'shard-1': '1 ...7'}
    """

    def __init__(self, *, period: float = PERIOD, count: int = COUNT) -> None:
        self.period = period
        self.count = count
        self._positions: dict[str, dict[str, str]] = {}

    def load(self, stream: str) -> Mapping[str, str]:
        return dict(self._positions.get(stream, {}))

    def save(self, stream: str, positions: Mapping[str, str]) -> None:
        kept = self._positions.setdefault(stream, {})
        for shard_id, position in positions.items():
            kept[shard_id] = max(position, kept.get(shard_id, ""))

    def forget(self, stream: str, shard_ids: Collection[str]) -> None:
        for shard_id in shard_ids:
            self._positions.get(stream, {}).pop(shard_id, None)

    def close(self, stream: str) -> None:
        pass
