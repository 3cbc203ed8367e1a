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
    delivery: Delivery | None = None


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


def hand_on(element: object, on_next: Callable[..., object], acknowledge: Callable[[], object]) -> None:
    """Hand an element on; acknowledge it unless that raises."""
    delivery = Counted(acknowledge)
    with delivering(delivery):
        on_next(element)
    delivery.settle()
