"""Changes that are not done when `on_next` returns: `hold` and `release`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SerialDisposable

from rxddbstream.checkpoints import holding
from rxddbstream.checkpoints.acknowledgement import hand_on
from rxddbstream.model.change import Change

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
                if holding.hold(change):
                    observer.on_next(change)
                else:
                    observer.on_error(holding.too_late(change))

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
                try:
                    changes = changes_of(element)
                except Exception as error:  # noqa: BLE001 - on a timer's thread, nobody hears what is raised
                    observer.on_error(error)
                    return
                if isinstance(changes, Observable):
                    observer.on_next(element)
                    # After the observer, so that it has each change, and the end, before we do.
                    _release_at_the_end(changes, windows)
                else:
                    hand_on(element, observer.on_next, partial(holding.release, changes))

            subscription = source.subscribe(
                on_next, observer.on_error, observer.on_completed, scheduler=scheduler
            )
            return CompositeDisposable(subscription, windows)

        return Observable(subscribe)

    return apply


def _release_at_the_end(window: Observable[Any], windows: CompositeDisposable) -> None:
    changes: list[Any] = []
    subscription = SerialDisposable()

    def leave(error: Exception | None = None) -> None:
        windows.remove(subscription)

    def on_completed() -> None:
        holding.release(changes)
        leave()

    windows.add(subscription)
    subscription.disposable = window.subscribe(changes.append, leave, on_completed)
