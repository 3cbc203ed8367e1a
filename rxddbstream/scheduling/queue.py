"""Handing elements over to another thread or a coroutine: bounded, in order, acknowledged.

`observe_on` of RxPY has a queue without a bound, and a change in it would count as done.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_PENDING = 1000
TAKER_PATIENCE = 0.5  # seconds within which a taker on another thread has come for the first time

WATCH_EVERY = 1.0  # seconds


class Ended(Exception):
    """The Observable has ended, and everything was taken.

    Attributes:
        error: what it ended with; None when it has completed.
    """

    def __init__(self, error: BaseException | None) -> None:
        super().__init__(error)
        self.error = error


class BoundedQueue(Generic[T]):
    """A bounded queue from an Observable's threads to one taker, who tells when each element is done.

    Whoever puts waits while it is full; that is the backpressure. Whoever ends waits until the taker has
    closed, since a source that has ended closes its checkpoints. Closing frees who waits. The taker's own
    thread never waits, as nobody could free it; that may turn out to be the one that made the queue.

    Args:
        max_pending: how many elements may wait to be taken.
        defer: called with each element that is put, on the thread that puts it; what is to be called once it
            is done.
        wake: called when there may be something to take, on the thread that put it.
        watch: called once a second by whoever waits, on that thread; it may close the queue.
    """

    def __init__(
        self,
        max_pending: int,
        *,
        defer: Callable[[T], Callable[[], object]],
        wake: Callable[[], object] = lambda: None,
        watch: Callable[[], object] | None = None,
    ) -> None:
        if max_pending < 1:
            raise ValueError(f"max_pending must be at least 1, not {max_pending}")
        self._max_pending = max_pending
        self._defer = defer
        self._wake = wake
        self._watch = watch
        self._changed = threading.Condition()
        self._pending: deque[tuple[T, Callable[[], object]]] = deque()
        self._closed = False
        self._end: Ended | None = None
        self._maker = threading.get_ident()
        self._taker: int | None = None  # the thread, once it has come

    def put(self, element: T) -> None:
        """Wait for room, and add the element; drop it when the taker has gone."""
        done = self._defer(element)  # also of what is then dropped: it is not done
        with self._changed:
            self._wait_until(lambda: len(self._pending) < self._max_pending)
            if self._closed:
                return
            self._pending.append((element, done))
            self._changed.notify_all()
        self._wake()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; wait until what is pending was taken, and the taker has closed."""
        with self._changed:
            self._end = Ended(error)
            self._changed.notify_all()
        self._wake()
        with self._changed:
            self._wait_until(lambda: False)

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        thread = threading.get_ident()

        def may_go_on() -> bool:
            return self._closed or self._taker == thread or condition()

        if self._taker is None and self._maker == thread:
            in_time = self._changed.wait_for(lambda: self._taker or may_go_on(), TAKER_PATIENCE)
            if not in_time:
                self._taker = thread  # which nobody else seems to be
        if self._watch is None:
            self._changed.wait_for(may_go_on)
            return
        while not self._changed.wait_for(may_go_on, WATCH_EVERY):
            self._changed.release()
            try:
                self._watch()
            finally:
                self._changed.acquire()

    def close(self) -> None:
        """The taker goes."""
        with self._changed:
            self._closed = True
            self._pending.clear()
            self._changed.notify_all()

    def taken_here(self) -> None:
        """This is the taker's thread."""
        self._taker = threading.get_ident()

    def take(self, timeout: float = 0.0) -> tuple[T, Callable[[], object]]:
        """The next element, and what to call once it is done, unless the taker goes before.

        Args:
            timeout: seconds to wait for one.

        Raises:
            queue.Empty: there was none in that time.
            Ended: there will be none.
        """
        with self._changed:
            self.taken_here()
            if timeout:
                self._changed.wait_for(lambda: self._pending or self._end is not None, timeout)
            if self._pending:
                self._changed.notify_all()
                element, done = self._pending.popleft()
                return element, partial(self._done, done)
            raise self._end or Empty

    def _done(self, done: Callable[[], object]) -> None:
        # Without the lock, since it may have to wait for whoever waits for room.
        if not self._closed:
            done()
