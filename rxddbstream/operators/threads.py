"""Going on in another thread or event loop: `observe_on`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from queue import Empty
from typing import Any, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable
from reactivex.scheduler import EventLoopScheduler, NewThreadScheduler, ThreadPoolScheduler

from rxddbstream.checkpoints.acknowledgement import hand_on
from rxddbstream.checkpoints.guard import keeps_checkpoints
from rxddbstream.checkpoints.holding import defer
from rxddbstream.errors import ConfigurationError, HeldTooLate
from rxddbstream.scheduling.pool import TimerPoolScheduler
from rxddbstream.scheduling.queue import MAX_PENDING, WATCH_EVERY, BoundedQueue, Ended

T = TypeVar("T")

_WITH_THREADS = (EventLoopScheduler, NewThreadScheduler, ThreadPoolScheduler, TimerPoolScheduler)
OVERDUE = timedelta(seconds=WATCH_EVERY)


def observe_on(
    scheduler: abc.SchedulerBase, *, max_pending: int = MAX_PENDING
) -> Callable[[Observable[T]], Observable[T]]:
    """Go on in another thread or event loop, in order, with a bounded queue between.

    An element is done when the observer's `on_next` has returned, and so are the changes that it stands for:
    the change that was being delivered when it came, and those of a list. When `max_pending` wait, the source
    waits, too; and when it ends, until the observer has all of it.

    ::

        source          -a-b-c-d------------
        observe_on(s)   --a----b----c----d--     on s

    Args:
        scheduler: where to go on; of one thread, or the observer is called by one at a time all the same.
            Not the pool that polls the shards: all of its workers can be waiting for room.
        max_pending: how many elements may wait.

    A scheduler that ends with elements still to be handed on is noticed by the next element, or by the source
    that waits: once a second it is asked whether it still takes work. So it cannot be noticed where it takes
    some and never runs it, as a stopped event loop does that may be started again.

    Errors at on_error:
        HeldTooLate: checkpoints are kept, and an element stands for changes that were kept as done already.
        ConfigurationError: the scheduler was shut down, disposed or closed.

    >>> from reactivex.scheduler import EventLoopScheduler
    >>> from rxddbstream import operators as dops
    >>> on_a_thread_of_its_own = dops.observe_on(EventLoopScheduler(), max_pending=100)
    """

    def apply(source: Observable[T]) -> Observable[T]:
        def subscribe(
            observer: abc.ObserverBase[T], given: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deferred = partial(defer, must_know=keeps_checkpoints(source))
            return _Drain(observer, scheduler, max_pending, deferred).start(source, given)

        return Observable(subscribe)

    return apply


class _Drain:
    """One subscription to `observe_on`: drains its queue on the scheduler, in one task at a time."""

    def __init__(
        self,
        observer: abc.ObserverBase[Any],
        scheduler: abc.SchedulerBase,
        size: int,
        deferred: Callable[[Any], Callable[[], None]],
    ) -> None:
        self._observer = observer
        self._scheduler = scheduler
        self._size = size
        self._lock = threading.Lock()
        self._draining = False
        self._awaited = False
        self._waits_since: datetime | None = None  # the task, for its turn on the scheduler
        self._queue: BoundedQueue[Any] = BoundedQueue(
            size, defer=deferred, wake=self._wake, watch=self._ask_whether_it_runs
        )
        if not isinstance(scheduler, _WITH_THREADS):
            self._queue.taken_here()  # by all that is known
        self._source = SerialDisposable()

    def start(self, source: Observable[Any], given: abc.SchedulerBase | None) -> abc.DisposableBase:
        queue = self._queue
        # First the queue: a source that waits for room could not be disposed.
        both = CompositeDisposable(Disposable(self._leave), self._source)
        if isinstance(self._scheduler, TimerPoolScheduler):
            if self._scheduler.unusable is not None:
                raise ConfigurationError(f"the scheduler of observe_on {self._scheduler.unusable}")
            self._scheduler.before_shutdown(self._shut_down)
        self._source.disposable = source.subscribe(self._put, queue.end, queue.end, scheduler=given)
        return both

    def _leave(self) -> None:
        self._queue.close()
        if isinstance(self._scheduler, TimerPoolScheduler):
            self._scheduler.not_before_shutdown(self._shut_down)

    def _shut_down(self) -> None:
        self._stop(ConfigurationError("the scheduler of observe_on was shut down while it was in use"))

    def _put(self, element: Any) -> None:
        try:
            self._queue.put(element)
        except HeldTooLate as error:
            self._stop(error)

    def _wake(self) -> None:
        with self._lock:
            self._awaited = True
            is_draining, self._draining = self._draining, True
        if not is_draining:
            self._schedule()
        elif self._is_overdue():
            self._ask_whether_it_runs()

    def _schedule(self) -> None:
        self._waits_since = self._scheduler.now
        self._submit(self._drain)

    def _is_overdue(self) -> bool:
        since = self._waits_since
        return since is not None and self._scheduler.now - since >= OVERDUE

    def _ask_whether_it_runs(self) -> None:
        # It may have taken our task, and been disposed with it. Then it takes no other one, either.
        if self._waits_since is not None:
            self._waits_since = self._scheduler.now
            self._submit(lambda *_: None)

    def _submit(self, action: abc.ScheduledAction[Any]) -> None:
        try:
            self._scheduler.schedule(action)
        except Exception as error:  # noqa: BLE001 - a scheduler that was disposed, a loop that was closed
            gone = ConfigurationError(
                f"the scheduler of observe_on takes no more work ({type(error).__name__}: {error}); "
                "dispose the subscription before it"
            )
            gone.__cause__ = error
            self._stop(gone)

    def _drain(self, _scheduler: abc.SchedulerBase, state: Any = None) -> None:
        self._waits_since = None
        for _ in range(self._size):  # then others have their turn on the scheduler
            self._awaited = False
            try:
                element, done = self._queue.take()
            except Empty:
                if self._is_idle():
                    return
                continue
            except Ended as end:
                self._finish(end.error)
                return
            try:
                hand_on(element, self._observer.on_next, done)
            except BaseException as error:  # noqa: BLE001 - nothing that an observer raises may be lost
                self._stop(error)
                return
        self._schedule()

    def _is_idle(self) -> bool:
        with self._lock:
            self._draining = self._awaited
            return not self._draining

    def _finish(self, error: BaseException | None) -> None:
        try:
            if error is None:
                self._observer.on_completed()
            else:
                self._observer.on_error(error)  # type: ignore[arg-type]
        finally:
            self._queue.close()

    def _stop(self, error: BaseException) -> None:
        self._leave()
        self._source.dispose()
        self._observer.on_error(error)  # type: ignore[arg-type]
