"""Event-time windows as operators: the state is that of `rxddbstream.windows`, the watermark the source's.

    changes     -a1--b1---a2----------c3------      the numbers are minutes
    watermark   ---------1-----2----------3---
    windows     ---------------[1]---------[2]      the first minute's, the second one's

A change knows the reading that it came from, and a window operator asks that for its watermark when it meets
the first one. So it may stand behind any filter, and a stream that has gone quiet still closes its windows.

The watermark is told right after the changes that it stands for, on their thread. Whatever hands changes over
to another thread (`observe_on`, `delay`) belongs behind the windows: before them it would let the watermark
overtake the changes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Generic, TypeAlias, TypeVar, overload

from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable

from rxddbstream.checkpoints.observing import taker
from rxddbstream.errors import ConfigurationError
from rxddbstream.model.change import Change
from rxddbstream.model.origin import WindowOperator
from rxddbstream.model.times import Seconds
from rxddbstream.operators.window_state import LateObserver, Windowing
from rxddbstream.windows.base import WindowResult, Windows
from rxddbstream.windows.definitions import Windower
from rxddbstream.windows.folds import Fold
from rxddbstream.windows.folds import fold as fold_of

K = TypeVar("K")
R = TypeVar("R")

A = TypeVar("A")
T = TypeVar("T")


Operator: TypeAlias = Callable[[Observable[Change]], Observable[T]]


class Window(Observable[Change], Generic[K]):
    """A window that has closed: an Observable of its changes, in order of their arrival.

    Attributes:
        key: what its changes have in common.
        start: when it begins; an aware datetime in UTC.
        end: when it ends; what happened at this very time is in the next one.
    """

    def __init__(self, key: K, start: datetime, end: datetime, changes: list[Change]) -> None:
        super().__init__()
        self.key = key
        self.start = start
        self.end = end
        self._changes = changes

    def _subscribe_core(
        self, observer: abc.ObserverBase[Change], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        # At once, so that whoever subscribes to it in on_next has had all of it when that returns.
        for change in self._changes:
            observer.on_next(change)
        observer.on_completed()
        return Disposable()

    def __repr__(self) -> str:
        return f"<Window {self.key!r} from {self.start.isoformat()} to {self.end.isoformat()}>"


@overload
def window(
    windower: Windower,
    key: Callable[[Change], K],
    *,
    lateness: Seconds = ...,
    late: LateObserver | None = ...,
    name: str | None = ...,
) -> Operator[Window[K]]: ...
@overload
def window(
    windower: Windower,
    key: None = ...,
    *,
    lateness: Seconds = ...,
    late: LateObserver | None = ...,
    name: str | None = ...,
) -> Operator[Window[None]]: ...
def window(
    windower: Windower,
    key: Callable[[Change], Any] | None = None,
    *,
    lateness: Seconds = 0.0,
    late: LateObserver | None = None,
    name: str | None = None,
) -> Operator[Window[Any]]:
    """Group changes into windows by the time at which they were made.

    ::

        changes     -a1--b1---a2----------c3------
        watermark   ---------1-----2----------3---
        window      ---------------A-----------B--
                                   A: (a1 b1)|
                                               B: (a2)|

    A window comes when it closes, since the end of a session is not known before. It keeps its changes until
    then; where a number is all that is wanted, `fold_window` keeps the number alone.

    Args:
        windower: which windows there are: `tumbling(60)`, `sliding(60, every=10)`, `session(30)`.
        key: gives each key windows of its own; without it, there is one for all changes.
        lateness: how long (seconds, or a timedelta) a window stays open after the watermark has passed its
            end.
        late: gets the changes that come after all of their windows have closed. They are counted, too:
            `Statistics.late`.
        name: tells this operator from others on the same stream, when checkpoints are kept. By default that
            is the windower; so name two that have the same one. What was emitted is known by the name and
            the windower: with windows of another size, or other offsets, nothing counts as emitted.

    Errors at on_error:
        HeldTooLate: checkpoints are kept, and the changes come too late to be held: from a buffer, or from
            another thread.
        ConfigurationError: checkpoints are kept, and another operator on the same subscription has the name.

    >>> import rxddbstream as rxd
    >>> from reactivex import operators as ops
    >>> from rxddbstream import operators as dops
    >>> counts = rxd.changes("orders").pipe(
    ...     dops.window(dops.tumbling(60)), ops.flat_map(lambda window: window.pipe(ops.count()))
    ... )
    """
    every_change: Fold[Change, list[Change], list[Change]] = Fold(list, _appended, lambda changes: changes)
    fold_each = fold_window(windower, key=key, fold=every_change, lateness=lateness, late=late, name=name)

    def apply(source: Observable[Change]) -> Observable[Window[Any]]:
        return fold_each(source).pipe(ops.map(_window_of))

    return apply


def _window_of(result: WindowResult[Any, list[Change]]) -> Window[Any]:
    return Window(result.key, result.start, result.end, result.value)


def _appended(changes: list[Change], change: Change) -> list[Change]:
    changes.append(change)
    return changes


@overload
def fold_window(
    windower: Windower,
    *,
    key: Callable[[Change], K],
    fold: Fold[Change, Any, R],
    lateness: Seconds = ...,
    late: LateObserver | None = ...,
    name: str | None = ...,
) -> Operator[WindowResult[K, R]]: ...
@overload
def fold_window(
    windower: Windower,
    *,
    key: None = ...,
    fold: Fold[Change, Any, R],
    lateness: Seconds = ...,
    late: LateObserver | None = ...,
    name: str | None = ...,
) -> Operator[WindowResult[None, R]]: ...
@overload
def fold_window(
    windower: Windower,
    *,
    key: Callable[[Change], K],
    seed: Callable[[], A],
    fold: Callable[[A, Change], A],
    lateness: Seconds = ...,
    late: LateObserver | None = ...,
    name: str | None = ...,
) -> Operator[WindowResult[K, A]]: ...
@overload
def fold_window(
    windower: Windower,
    *,
    key: None = ...,
    seed: Callable[[], A],
    fold: Callable[[A, Change], A],
    lateness: Seconds = ...,
    late: LateObserver | None = ...,
    name: str | None = ...,
) -> Operator[WindowResult[None, A]]: ...
def fold_window(
    windower: Windower,
    *,
    key: Callable[[Change], Any] | None = None,
    fold: Fold[Change, Any, Any] | Callable[[Any, Change], Any],
    seed: Callable[[], Any] | None = None,
    lateness: Seconds = 0.0,
    late: LateObserver | None = None,
    name: str | None = None,
) -> Operator[WindowResult[Any, Any]]:
    """Fold the changes of each window into one value, by the time at which they were made.

    ::

        changes                     -a1--b1---a2----------c3------
        watermark                   ---------1-----2----------3---
        fold_window(fold=count())   ---------------2-----------1--

    Each window gives one `WindowResult(key, start, end, value)`, once, when the watermark has passed its end.

    Args:
        windower: which windows there are: `tumbling(60)`, `sliding(60, every=10)`, `session(30)`.
        key: gives each key windows of its own; without it, there is one for all changes.
        fold: what becomes of the changes: `count()`, `sum_of(...)`, ...; or, with `seed`, a function that
            takes the value so far and a change, and returns the next value.
        seed: makes the value of an empty window: `int`, `list`, `lambda: Decimal(0)`.
        lateness, late, name: as for `window`.

    Raises:
        ConfigurationError: a seed without a function, or the reverse.

    Errors, at `on_error`: as for `window`.

    >>> import rxddbstream as rxd
    >>> from rxddbstream import operators as dops
    >>> revenue = rxd.changes("orders").pipe(
    ...     dops.fold_window(
    ...         dops.tumbling(60),
    ...         key=lambda change: change.new_image["product"],
    ...         fold=dops.sum_of(lambda change: change.new_image["total"]),
    ...     )
    ... )
    """
    folding = _fold_of(seed, fold)
    windower.windows(folding, lateness=lateness)  # what cannot work is refused here, and not at on_error
    known = _known_as(windower, name, lateness)
    tell_late = taker(late, "late") if late else None

    def apply(source: Observable[Change]) -> Observable[WindowResult[Any, Any]]:
        def subscribe(
            observer: abc.ObserverBase[WindowResult[Any, Any]], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            def windows() -> Windows[Any, Change, Any]:
                return windower.windows(folding, lateness=lateness)

            return Windowing(windows, known, key, tell_late, observer).start(source, scheduler)

        return Observable(subscribe)

    return apply


def _known_as(windower: Windower, name: str | None, lateness: Seconds) -> WindowOperator:
    # The windower, too: what has been emitted of one kind of windows says nothing of another's.
    named = f"{name}: {windower!r}" if name else repr(windower)
    seconds = lateness.total_seconds() if isinstance(lateness, timedelta) else lateness
    return WindowOperator(named, name or repr(windower), windower.span, seconds)


def _fold_of(
    seed: Callable[[], Any] | None, fold: Fold[Change, Any, Any] | Callable[[Any, Change], Any]
) -> Fold[Change, Any, Any]:
    if isinstance(fold, Fold):
        if seed is not None:
            raise ConfigurationError("seed= goes with a function as fold=; a ready fold has one of its own")
        return fold
    if not callable(seed):
        raise ConfigurationError(
            f"seed={seed!r} must be a function that makes the value of an empty window: int, list, lambda: 0"
        )
    return fold_of(seed, fold)
