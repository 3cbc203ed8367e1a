"""Observables that take no dropped element for a done one.

RxPY disposes from the outside in, and an operator that takes a time ends its observer from a thread of its
own. What is delivered meanwhile falls into an observer that has stopped; `on_next` returns all the same.
So each stage of a pipeline looks, after `on_next`, whether its observer has stopped, and defers the
element's acknowledgement if it has::

    timer      ---------------|          take_with_time ends its observer ...
    changes    -a---b---c---d---e        ... while d is on its way to it
    done       -a---b---c
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxddbstream.checkpoints.acknowledgement import current, delivering
from rxddbstream.checkpoints.holding import Listed
from rxddbstream.checkpoints.observing import taker_unless_known
from rxddbstream.errors import HeldTooLate
from rxddbstream.scheduling.calling import call_each

T = TypeVar("T")


class Guarded(Observable[T]):
    """An Observable whose operators and observers are looked after."""

    _keeps_checkpoints = False  # whether it makes a difference when an element is done

    # The overloads are those of RxPY; what is added to them has no type of its own.
    if not TYPE_CHECKING:

        @wraps(Observable.pipe)
        def pipe(self, *operators):
            result = self
            for operator in operators:
                result = operator(result)
                if type(result) is Observable:  # not one that has methods of its own, such as `connect`
                    result = Stage(result, self._keeps_checkpoints)
            return result

        @wraps(Observable.subscribe)
        def subscribe(self, on_next=None, on_error=None, on_completed=None, *, scheduler=None):
            if on_next is not None:
                if callable(getattr(on_next, "on_next", None)):
                    on_next, on_error, on_completed = on_next.on_next, on_next.on_error, on_next.on_completed
                # Whether a person or an operator subscribes: inside `on_next` of another subscription the two
                # look the same, but for whose function it is.
                on_next = taker_unless_known(on_next, "on_next")
            return super().subscribe(on_next, on_error, on_completed, scheduler=scheduler)


def keeps_checkpoints(source: Observable[Any]) -> bool:
    """Whether it is known to make a difference when an element of it is done."""
    return isinstance(source, Guarded) and source._keeps_checkpoints


class Stage(Guarded[T]):
    """What an operator has made of a guarded Observable.

    Args:
        made: that.
    """

    def __init__(self, made: Observable[T], keeps_checkpoints: bool) -> None:
        super().__init__()
        self._made = made
        self._keeps_checkpoints = keeps_checkpoints

    def _subscribe_core(
        self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        # Not `subscribe`, which would put an observer of its own between the operator and ours.
        if not self._keeps_checkpoints:
            return self._made._subscribe_core(observer, scheduler)
        guard = Guard(observer)
        with Subscriber.subscribing() as outermost:
            subscription = self._made._subscribe_core(guard, scheduler)
        return CompositeDisposable(Disposable(outermost.through), subscription, Disposable(guard.let_go))


class Subscriber:
    """The outermost subscriber of a pipeline: until it is through, its operators may have changes in hand.

    Attributes:
        is_through: whether it has completed, failed or was disposed.
    """

    def __init__(self, *, is_through: bool = False) -> None:
        self.is_through = is_through
        self._lock = threading.Lock()
        self._actions: list[Callable[[], None]] = []

    @classmethod
    def current(cls) -> Subscriber:
        """Who is subscribing on this thread; one that is through where nobody knows."""
        return _thread.subscriber or cls(is_through=True)

    @classmethod
    @contextlib.contextmanager
    def subscribing(cls) -> Iterator[Subscriber]:
        """While a stage subscribes; a subscriber that nobody asks, if an outer one does, too."""
        outer, mine = _thread.subscriber, cls()
        _thread.subscriber = outer or mine
        try:
            yield mine
        finally:
            _thread.subscriber = outer

    def when_through(self, action: Callable[[], None]) -> None:
        """Have this called then."""
        with self._lock:
            self._actions.append(action)

    def through(self) -> None:
        """It is."""
        with self._lock:
            self.is_through = True
            actions, self._actions = self._actions, []
        call_each(actions)


class _Thread(threading.local):
    subscriber: Subscriber | None = None


_thread = _Thread()


class Guard(abc.ObserverBase[T]):
    """Looks after one observer, which RxPY's `subscribe` has made, or which is a guard itself."""

    def __init__(self, observer: abc.ObserverBase[T]) -> None:
        self._observer: Any = observer
        self._lock = threading.Lock()
        self._deferred: list[Callable[[], None]] = []
        self._is_disposed = False
        self._last_list: list[Any] = []

    @property
    def is_stopped(self) -> bool:
        """Whether what comes now is dropped."""
        return bool(self._observer.is_stopped)

    def on_next(self, value: T) -> None:
        if isinstance(value, list) and (delivery := current()) is not None:  # of a buffer
            before, self._last_list = self._last_list, value
            with delivering(Listed(value, before, delivery)):
                self._observer.on_next(value)
        else:
            self._observer.on_next(value)
        if self._observer.is_stopped:
            self.drop()

    def drop(self) -> None:
        """What is being delivered does not reach the observer, and is not done."""
        delivery = current()
        if delivery is None:
            return
        try:
            deferred = delivery.defer()
        except HeldTooLate:  # a buffer without a hold: what it had was done when it came there
            return
        with self._lock:
            if not self._is_disposed:
                self._deferred.append(deferred)
                return
        deferred()

    def let_go(self) -> None:
        """All upstream is disposed: acknowledgements come too late for its checkpoints.

        Unless others share it, and it goes on: then what has ended is nothing to wait for.
        """
        with self._lock:
            self._is_disposed = True
            deferred, self._deferred = self._deferred, []
        call_each(deferred)

    def on_error(self, error: Exception) -> None:
        self._observer.on_error(error)

    def on_completed(self) -> None:
        self._observer.on_completed()
