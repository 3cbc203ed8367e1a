"""When an element is done: once its `on_next` has returned, and whoever deferred that is through with it.

Whoever hands an element on says so for its thread. So an operator far downstream, which may see a list, a
number or a window in place of the change, can still defer the acknowledgement of what it stands for.

    delivering   a────────────┐  b────────────┐
    on_next          queued       queued
    the taker                        a done         b done
    acknowledged                     a              b
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Protocol


class Delivery(Protocol):
    """An element that is being handed on."""

    def defer(self) -> Callable[[], None]:
        """Put off its acknowledgement until the returned function is called: once, from any thread."""
        ...


class Counted:
    """A delivery that is acknowledged when it was settled, and each that deferred it is through.

    Args:
        acknowledge: called at that point, on the thread that comes to it last.

    >>> delivery = Counted(lambda: print("done"))
    >>> through = delivery.defer()
    >>> delivery.settle()
    >>> through()
    done
    """

    def __init__(self, acknowledge: Callable[[], object]) -> None:
        self._acknowledge = acknowledge
        self._open = 1
        self._lock = threading.Lock()

    def defer(self) -> Callable[[], None]:
        """See `Delivery`."""
        with self._lock:
            self._open += 1
        return self.settle

    def settle(self) -> None:
        """One is through with it."""
        with self._lock:
            self._open -= 1
            is_last = not self._open
        if is_last:
            self._acknowledge()


class _Thread(threading.local):
    def __init__(self) -> None:
        self.delivery: Delivery | None = None
        self.afterwards: list[Callable[[], object]] = []


_thread = _Thread()


def current() -> Delivery | None:
    """What is being handed on by this thread; None where nobody has said so."""
    return _thread.delivery


@contextlib.contextmanager
def delivering(delivery: Delivery | None) -> Iterator[None]:
    """While this thread hands it on; None: something else meanwhile."""
    before, _thread.delivery = _thread.delivery, delivery
    try:
        yield
    finally:
        _thread.delivery = before
        if before is None and _thread.afterwards:
            run_all(_thread.afterwards)


def afterwards(action: Callable[[], object]) -> None:
    """Have this called when the element that this thread hands on is acknowledged: now, if there is none.

    What ends a stream with that element comes afterwards, or it would come before the element is done.
    """
    if _thread.delivery is None:
        action()
    else:
        _thread.afterwards.append(action)


def all_afterwards() -> list[Callable[[], object]]:
    """What is to be called, on this thread; always the same list."""
    return _thread.afterwards


def run_all(actions: list[Callable[[], object]]) -> None:
    """Call them, and empty the list."""
    while actions:
        actions.pop(0)()


def hand_on(element: object, on_next: Callable[..., object], acknowledge: Callable[[], object]) -> None:
    """Hand an element on; acknowledge it unless that raises."""
    delivery = Counted(acknowledge)
    with delivering(delivery):
        on_next(element)
        delivery.settle()
