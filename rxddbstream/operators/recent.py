"""What came of late, by a clock that the changes' own times wind: it stands at the newest of them.

A time ahead of the answer that had it does not wind it: it would stand there, and nothing would go any more.

A change that comes from a shard that lags behind is as recent as any other that comes now. So whatever
came earlier goes earlier, and to add and to drop costs the same however much is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from datetime import timedelta
from math import inf
from typing import Generic, TypeVar

from rxddbstream.errors import ConfigurationError
from rxddbstream.model.change import Change, has_sound_time
from rxddbstream.model.times import Seconds

K = TypeVar("K", bound=Hashable)


class Recent(Generic[K]):
    """The keys that came in the last `ttl` seconds, and no more of them than `max_keys`.

    Args:
        ttl: how long a key stays, by the clock; None for as long as there is room.
        max_keys: how many stay; None for any number.

    Raises:
        ConfigurationError: one of them is not positive.

    >>> recent = Recent(max_keys=2)
    >>> [recent.add(key) for key in "abac"]
    [[], [], [], ['b']]
    """

    __slots__ = ("_added", "_max_keys", "_now", "_ttl")

    def __init__(self, ttl: Seconds | None = None, max_keys: int | None = None) -> None:
        seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else inf if ttl is None else ttl
        if not seconds > 0:
            raise ConfigurationError(f"ttl must be more than 0 seconds, not {ttl!r}")
        if max_keys is not None and max_keys < 1:
            raise ConfigurationError(f"at least 1 has to be kept, not {max_keys!r}")
        self._ttl = seconds
        self._max_keys = inf if max_keys is None else max_keys
        self._now = -inf
        self._added: OrderedDict[K, float] = OrderedDict()  # when, the oldest first

    def advance(self, change: Change) -> list[K]:
        """Wind the clock to the time of a change, if it is later.

        Returns:
            the keys that have gone.
        """
        if self._ttl < inf and has_sound_time(change):
            self._now = max(self._now, change.timestamp)
        return self._drop()

    def add(self, key: K) -> list[K]:
        """A key came.

        Returns:
            the keys that have gone.
        """
        self._added[key] = self._now
        self._added.move_to_end(key)
        return self._drop()

    def discard(self, key: K) -> None:
        """Forget a key, if it is there."""
        self._added.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._added

    def __len__(self) -> int:
        return len(self._added)

    def _drop(self) -> list[K]:
        added, oldest = self._added, self._now - self._ttl
        gone = []
        while added and (len(added) > self._max_keys or next(iter(added.values())) < oldest):
            gone.append(added.popitem(last=False)[0])
        return gone
