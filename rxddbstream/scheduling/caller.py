"""Going on in the thread that waits: what `run` was called on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

from reactivex import abc

from rxddbstream.scheduling.lane import Item, Lane
from rxddbstream.scheduling.pool import TimerPoolScheduler

T = TypeVar("T")

_SLICE = 1.0  # seconds: on Windows an endless wait cannot be interrupted


class CallerScheduler(Lane):
    """A scheduler of which every action runs on one thread, the one that made it, while that is in `serve`.

    What is scheduled need not wait until a long `call` is over: that lets it have its turn, by `run_due`. An
    exception that escapes an action comes out of `serve`.

        >>> pool = TimerPoolScheduler(workers=1)
        >>> caller = CallerScheduler(pool)
        >>> _ = pool.schedule(lambda *_: caller.call(caller.stop))
        >>> caller.serve()
        >>> caller.close()
        >>> pool.shutdown()

    Args:
        pool: where work is done that may block; it has the timer of both.

    Attributes:
        pool: that.
        nothing_due: whether there is nothing for `run_due`; to be called before each element.
    """

    def __init__(self, pool: TimerPoolScheduler) -> None:
        super().__init__(pool._timer, 1, "")
        self.pool = pool
        self._thread = threading.get_ident()
        self._stopped = False
        self.nothing_due = self._ready.empty
        self._wakes: SimpleQueue[None] = SimpleQueue()  # one for each action and call
        self._lock = threading.Lock()  # guards these two
        self._closed = False
        self._calls: deque[_Call] = deque()

    def _start_worker(self) -> None:
        """There is none: the thread comes by itself."""

    def _enqueue(self, item: Item) -> None:
        self._ready.put(item)
        self._wakes.put(None)

    def _failed(self, error: BaseException) -> None:
        raise error

    def serve(self) -> None:
        """Run what is scheduled or called, until `stop`; in a child that was forked since, nothing comes."""
        while not self._stopped and not self._timer.is_of_another_process:
            try:
                self._wakes.get(timeout=_SLICE)
            except Empty:
                continue
            self.run_due()
            if self._calls:
                self._calls.popleft().run()

    def run_due(self) -> None:
        """Run what is scheduled; on the thread that serves."""
        while not self._ready.empty() and not self._stopped:
            item = self._ready.get()
            if item is not None:
                item.run()

    def stop(self) -> None:
        """Have `serve` return when the present action has; from any thread, and from a signal's handler."""
        self._stopped = True
        self._wakes.put(None)

    def post(self, action: Callable[[], object]) -> None:
        """Have an action run there: now, if this is the thread, or else soon."""

        def run(*_: object) -> None:
            action()

        if threading.get_ident() == self._thread:
            run()
        else:
            self.schedule(run)

    def call(self, action: Callable[[], object]) -> None:
        """Have an action run there, and wait until it has, or never will."""
        if threading.get_ident() == self._thread:
            action()
            return
        call = _Call(action)
        with self._lock:
            if self._closed:
                return
            self._calls.append(call)
        self._wakes.put(None)
        call.over.acquire()

    def close(self) -> None:
        """Run nothing more, and let go who waits for that."""
        with self._lock:
            self._closed = True
            calls = list(self._calls)
            self._calls.clear()
        for call in calls:
            call.over.release()
        for item in self._drain():
            item.dispose()


class _Call:
    """An action, and who waits for it."""

    __slots__ = ("_action", "over")

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action
        self.over = threading.Lock()
        self.over.acquire()

    def run(self) -> None:
        try:
            self._action()
        finally:
            self.over.release()


class Posting(abc.ObserverBase[T]):
    """Tells an observer on the thread of a `CallerScheduler`, for which whoever tells it does not wait."""

    def __init__(self, observer: abc.ObserverBase[T], caller: CallerScheduler) -> None:
        self._observer = observer
        self._caller = caller

    def on_next(self, value: T) -> None:
        self._caller.post(lambda: self._observer.on_next(value))

    def on_error(self, error: Exception) -> None:
        self._caller.post(lambda: self._observer.on_error(error))

    def on_completed(self) -> None:
        self._caller.post(self._observer.on_completed)
