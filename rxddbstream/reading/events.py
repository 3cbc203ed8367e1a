"""Telling an observer what happens beside the data."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from reactivex import abc

from rxddbstream.checkpoints.observing import taker
from rxddbstream.model.events import Event, Retrying, Throttled

MOST_WAITING = 10_000

EventObserver: TypeAlias = abc.ObserverBase[Event] | Callable[[Event], object]
"""Whom `events=` takes: an observer, of which `on_next` alone is called, or a function."""


def function_of(observer: EventObserver) -> Callable[[Event], None]:
    """What to call with each event.

    Raises:
        ConfigurationError: it is a coroutine function.
    """
    return taker(observer, "events")


class EventSink:
    """Hands events to one observer, one at a time, from any thread.

    A thread that finds another one handing over leaves its event to it. So no thread waits, and none
    holds a lock while the observer runs. When `MOST_WAITING` events wait for an observer that does not come
    back, no failures in passing are added to them, of which there is no end; everything else is.

    Args:
        observer: who is told; None tells nobody.
        on_failure: called with what the observer raised.
    """

    def __init__(self, observer: EventObserver | None, on_failure: Callable[[Any], None]) -> None:
        self._tell = None if observer is None else function_of(observer)
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._waiting: deque[Event] = deque()
        self._busy = False

    def emit(self, event: Event) -> None:
        """Tell the observer, now or as soon as it is free."""
        if self._tell is None:
            return
        with self._lock:
            if len(self._waiting) < MOST_WAITING or not isinstance(event, Retrying | Throttled):
                self._waiting.append(event)
            if self._busy:
                return
            self._busy = True
        while (waiting := self._next()) is not None:
            try:
                self._tell(waiting)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the subscription ends with it
                self._tell = None
                self._on_failure(error)
                return

    def _next(self) -> Event | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._busy = False
            return None
