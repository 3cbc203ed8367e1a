"""Ending a stream from outside its changes: after a time, or when something else happens.

RxPY's operators of the same names end their observer while a change may be on its way to it. Here the end
comes when that change is done, in whatever pipeline they stand; so it lies between two changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.scheduler import TimeoutScheduler

from rxddbstream.checkpoints.acknowledgement import afterwards
from rxddbstream.checkpoints.guard import Guard
from rxddbstream.errors import ConfigurationError
from rxddbstream.model.times import Seconds

T = TypeVar("T")


def take_with_time(
    duration: Seconds, *, scheduler: abc.SchedulerBase | None = None
) -> Callable[[Observable[T]], Observable[T]]:
    """What comes in the first so many seconds; the change that is being delivered then is the last one.

    ::

        source               -a-b-c-d-e-f-
        take_with_time(4)    -a-b-c-|          c has been handled when it completes

    Args:
        duration: seconds, or a timedelta.
        scheduler: where the time is waited for; by default the one given to `subscribe`, else a thread of
            its own.

    Raises:
        ConfigurationError: the duration is negative.

    >>> import rxddbstream as rxd
    >>> from rxddbstream import operators as dops
    >>> for_ten_minutes = rxd.changes("orders").pipe(dops.take_with_time(600))
    """
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if not seconds >= 0:
        raise ConfigurationError(f"duration must be 0 seconds or more, not {duration!r}")

    def signal(ending: _Ending[T], given: abc.SchedulerBase | None) -> abc.DisposableBase:
        timer = scheduler or given or TimeoutScheduler.singleton()
        return timer.schedule_relative(seconds, lambda *_: ending.complete())

    return _ended_by(signal)


def take_until(other: Observable[Any]) -> Callable[[Observable[T]], Observable[T]]:
    """What comes before another Observable has its first element; the change in hand then is the last one.

    ::

        source              -a-b-c-d-e-f-
        other               -------x-----
        take_until(other)   -a-b-c-|

    When `other` completes, nothing happens. Its error ends the stream, too.

    >>> from reactivex.subject import Subject
    >>> import rxddbstream as rxd
    >>> from rxddbstream import operators as dops
    >>> stop: Subject[None] = Subject()
    >>> until_told = rxd.changes("orders").pipe(dops.take_until(stop))
    """

    def signal(ending: _Ending[T], given: abc.SchedulerBase | None) -> abc.DisposableBase:
        return other.subscribe(lambda _: ending.complete(), ending.fail, scheduler=given)

    return _ended_by(signal)


class _Ending(Generic[T]):
    """One subscription: its end comes when the element in hand is done.

    Whoever signals the end does not wait for that, but leaves it to the thread that delivers: the two may
    need each other, where other streams are merged with this one.
    """

    def __init__(self, observer: abc.ObserverBase[T]) -> None:
        self._guard = Guard(observer)
        self._lock = threading.Lock()  # guards what follows; never held while calling out
        self._delivering = 0  # elements: an observer may cause the next one from inside on_next
        self._end: Callable[[], None] | None = None
        self._has_ended = False

    def follow(
        self, source: Observable[T], signal: abc.DisposableBase, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        """Subscribe to the source, until the signal comes."""
        subscription = source.subscribe(self._take, self.fail, self.complete, scheduler=scheduler)
        return CompositeDisposable(signal, subscription, Disposable(self._guard.let_go))

    def _take(self, element: T) -> None:
        with self._lock:
            is_over = self._end is not None
            self._delivering += not is_over
        if is_over:
            self._guard.drop()
            afterwards(self._end_if_due)
            return
        try:
            self._guard.on_next(element)
        except BaseException:
            with self._lock:
                self._delivering -= 1
            raise  # to the source, which ends with that rather than with an end that has not come yet
        afterwards(self._delivered)

    def _delivered(self) -> None:
        with self._lock:
            self._delivering -= 1
        self._end_if_due()

    def complete(self) -> None:
        with self._lock:
            self._end = self._end or self._guard.on_completed
        self._end_if_due()

    def fail(self, error: Exception) -> None:
        with self._lock:
            self._end = partial(self._guard.on_error, error)
        self._end_if_due()

    def _end_if_due(self) -> None:
        with self._lock:
            end = None if self._delivering or self._has_ended else self._end
            self._has_ended |= end is not None
        if end is not None:
            end()


def _ended_by(
    signal: Callable[[_Ending[T], abc.SchedulerBase | None], abc.DisposableBase],
) -> Callable[[Observable[T]], Observable[T]]:
    def apply(source: Observable[T]) -> Observable[T]:
        def subscribe(
            observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            ending = _Ending(observer)
            return ending.follow(source, signal(ending, scheduler), scheduler)

        return Observable(subscribe)

    return apply
