"""Seconds that never go back: what waits and due times are counted by."""

from __future__ import annotations

import threading
from collections.abc import Callable


class SteadyClock:
    """Seconds that never go back, made of a wall clock, which may be set back. Any thread may ask.

    Args:
        wall: the wall clock's seconds, of any epoch.

    >>> wall = iter([5000.0, 5001.0, 1401.0, 1402.0])
    >>> clock = SteadyClock(lambda: next(wall))
    >>> [clock.seconds() for _ in range(4)]
    [5000.0, 5001.0, 5001.0, 5002.0]
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._lock = threading.Lock()  # guards these two
        self._set_back = 0.0
        self._last = float("-inf")

    def seconds(self) -> float:
        """The time by now."""
        with self._lock:
            now = self._wall()
            self._set_back += max(0.0, self._last - (now + self._set_back))
            self._last = now + self._set_back
            return self._last
