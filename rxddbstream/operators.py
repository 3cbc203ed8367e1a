"""Operators that reactivex lacks.

Which changes matter, and what they changed: `where`, `changed`, `diff`, `latest_by_key`, `distinct_event`.

Event-time windows: `window`, `fold_window`; which windows: `tumbling`, `sliding`, `session`; what becomes of
their changes: `count`, `sum_of`, `minimum`, `maximum`, `mean`, `latest`, `distinct_count`.

For changes that are not done when `on_next` returns: `hold`, `release`, `observe_on`. A change is
checkpointed when its `on_next` has returned. An operator that keeps it for later, such as a buffer, or hands
it to another thread, returns at once. Hold the changes before it, and release them when they are really done.
The windows here do so by themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty
from typing import Any, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from rxddbstream import handover
from rxddbstream.handover import MAX_PENDING, Ended, Handover
from rxddbstream.model.change import Change
from rxddbstream.model.diff import Diff
from rxddbstream.selecting import changed, diff, distinct_event, latest_by_key, where
from rxddbstream.windowing import Window, fold_window, window
from rxddbstream.windows.definitions import Windower, WindowResult, session, sliding, tumbling
from rxddbstream.windows.folds import Fold, count, distinct_count, latest, maximum, mean, minimum, sum_of

__all__ = [
    "Diff",
    "Fold",
    "Window",
    "WindowResult",
    "Windower",
    "changed",
    "count",
    "diff",
    "distinct_count",
    "distinct_event",
    "fold_window",
    "hold",
    "latest",
    "latest_by_key",
    "maximum",
    "mean",
    "minimum",
    "observe_on",
    "release",
    "session",
    "sliding",
    "sum_of",
    "tumbling",
    "where",
    "window",
]

T = TypeVar("T")


def hold() -> Callable[[Observable[Change]], Observable[Change]]:
    """Keep each change from being checkpointed until it is released.

    ::

        source      -a---b---c--d------
        hold()      -a---b---c--d------     none is checkpointed
        buffer      ---------[abc]-----
        release()   ---------[abc]-----     a, b and c are, once the observer has them

    Put it right before the operator that keeps changes. A change that is held and then filtered out is never
    released, and neither is any after it.

    Errors at on_error:
        HeldTooLate: the change has been handed over before, unheld.

    >>> import rxddbstream as rxd
    >>> from reactivex import operators as ops
    >>> from rxddbstream import operators as dops
    >>> batches = rxd.changes("orders").pipe(
    ...     dops.hold(), ops.buffer_with_count(100), ops.do_action(print), dops.release()
    ... )
    """

    def apply(source: Observable[Change]) -> Observable[Change]:
        def subscribe(
            observer: abc.ObserverBase[Change], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            def on_next(change: Change) -> None:
                if handover.hold(change):
                    observer.on_next(change)
                else:
                    observer.on_error(handover.too_late(change))

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return apply


def release(
    changes_of: Callable[[T], Any] = lambda element: element,
) -> Callable[[Observable[T]], Observable[T]]:
    """Release what `hold()` held, once the observer's `on_next` has returned.

    An element may be a change, a list of changes (also nested), or a window: an Observable of changes, which
    are released when it has completed. Subscribe to a window at once, as it comes.

    ::

        hold()      -a---b------c----------
        map async   ------a---b------c-----
        release()   ------a---b------c-----     each is checkpointed with those before it

    Args:
        changes_of: what to release for an element, where it is not the element itself.

    >>> from rxddbstream import operators as dops
    >>> by_result = dops.release(lambda result: result["changes"])
    """

    def apply(source: Observable[T]) -> Observable[T]:
        def subscribe(
            observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            windows = CompositeDisposable()

            def on_next(element: T) -> None:
                changes = changes_of(element)
                observer.on_next(element)
                if isinstance(changes, Observable):
                    # After the observer, so that it has each change, and the end, before we do.
                    _release_at_the_end(changes, windows)
                else:
                    handover.release(changes)

            subscription = source.subscribe(
                on_next, observer.on_error, observer.on_completed, scheduler=scheduler
            )
            return CompositeDisposable(subscription, windows)

        return Observable(subscribe)

    return apply


def observe_on(
    scheduler: abc.SchedulerBase, *, max_pending: int = MAX_PENDING
) -> Callable[[Observable[T]], Observable[T]]:
    """Go on in another thread or event loop, in order, with a bounded queue between.

    Changes, and lists of them, are held while they wait and released when the observer's `on_next` has
    returned. So put it before what maps them to something else. When `max_pending` wait, the source waits,
    too; and when it ends, until the observer has all of it.

    ::

        source          -a-b-c-d------------
        observe_on(s)   --a----b----c----d--     on s

    Args:
        scheduler: where to go on; of one thread, or the observer is called by one at a time all the same.
            Not the pool that polls the shards: all of its workers can be waiting for room.
        max_pending: how many elements may wait.

    >>> from reactivex.scheduler import EventLoopScheduler
    >>> from rxddbstream import operators as dops
    >>> on_a_thread_of_its_own = dops.observe_on(EventLoopScheduler(), max_pending=100)
    """

    def apply(source: Observable[T]) -> Observable[T]:
        def subscribe(
            observer: abc.ObserverBase[T], given: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            return _Drain(observer, scheduler, max_pending).start(source, given)

        return Observable(subscribe)

    return apply


class _Drain:
    """One subscription to `observe_on`: drains its queue on the scheduler, in one task at a time."""

    def __init__(self, observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase, size: int) -> None:
        self._observer = observer
        self._scheduler = scheduler
        self._size = size
        self._lock = threading.Lock()
        self._draining = False
        self._awaited = False
        self._handover: Handover[Any] = Handover(size, wake=self._wake)
        self._source = SerialDisposable()

    def start(self, source: Observable[Any], given: abc.SchedulerBase | None) -> abc.DisposableBase:
        queue = self._handover
        # First the queue: a source that waits for room could not be disposed.
        both = CompositeDisposable(Disposable(queue.close), self._source)
        self._source.disposable = source.subscribe(queue.put, queue.end, queue.end, scheduler=given)
        return both

    def _wake(self) -> None:
        with self._lock:
            self._awaited = True
            if self._draining:
                return
            self._draining = True
        self._schedule()

    def _schedule(self) -> None:
        try:
            self._scheduler.schedule(self._drain)
        except Exception as error:  # noqa: BLE001 - a scheduler that was disposed, a loop that was closed
            self._stop(error)

    def _drain(self, _scheduler: abc.SchedulerBase, state: Any = None) -> None:
        for _ in range(self._size):  # then others have their turn on the scheduler
            self._awaited = False
            try:
                element = self._handover.take()
            except Empty:
                if self._is_idle():
                    return
                continue
            except Ended as end:
                self._finish(end.error)
                return
            try:
                self._observer.on_next(element)
            except BaseException as error:  # noqa: BLE001 - nothing that an observer raises may be lost
                self._stop(error)
                return
            self._handover.done(element)
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
            self._handover.close()

    def _stop(self, error: BaseException) -> None:
        self._handover.close()
        self._source.dispose()
        self._observer.on_error(error)  # type: ignore[arg-type]


def _release_at_the_end(window: Observable[Any], windows: CompositeDisposable) -> None:
    changes: list[Any] = []
    subscription = SerialDisposable()

    def leave(error: Exception | None = None) -> None:
        windows.remove(subscription)

    def on_completed() -> None:
        handover.release(changes)
        leave()

    windows.add(subscription)
    subscription.disposable = window.subscribe(changes.append, leave, on_completed)
