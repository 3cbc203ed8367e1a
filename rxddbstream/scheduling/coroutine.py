"""Running a coroutine, a generator that yields how long it waits, on a scheduler.

It reads like a program that sleeps, and blocks no thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from reactivex import abc
from reactivex.disposable import MultipleAssignmentDisposable


class Wait(NamedTuple):
    """What a coroutine yields.

    Attributes:
        seconds: how long to wait.
        until_woken: whether `wake` ends the wait.
    """

    seconds: float
    until_woken: bool = False


class Stepper:
    """Runs one coroutine, a step at a time, each on whatever thread the scheduler has.

    Args:
        coroutine: what to run. Disposing closes it; it may be in the middle of a step then, and is closed
            after that.
        scheduler: where.
        on_completed: called when the coroutine has returned.
        on_error: called with what it raised.

    Attributes:
        in_first_step: whether it is still on the thread that started it.
    """

    def __init__(
        self,
        coroutine: Generator[Wait, None, None],
        scheduler: abc.SchedulerBase,
        on_completed: Callable[[], None],
        on_error: Callable[[Any], None],
    ) -> None:
        self._coroutine = coroutine
        self._scheduler = scheduler
        self._on_completed = on_completed
        self._on_error = on_error
        self._next_step = MultipleAssignmentDisposable()
        self.in_first_step = True
        self._lock = threading.Lock()  # guards what follows; never held while calling out
        self._number = 0  # of the step to come: a wait that was cut short has an older one
        self._stepping = False
        self._closed = False
        self._sleeping = False
        self._woken = False

    def start(self) -> None:
        """Make the first step now, on this thread."""
        self._step(self._scheduler, self._number)

    def wake(self) -> None:
        """End a wait until woken; the present one, or else the next one."""
        with self._lock:
            if not self._sleeping:
                self._woken = True
                return
            self._sleeping = False
            self._number += 1
            number = self._number
        self._schedule(0.0, number)

    def dispose(self) -> None:
        """Make no more steps."""
        self._next_step.dispose()
        self._close()

    def _close(self) -> None:
        with self._lock:
            if self._stepping or self._closed:
                return
            self._closed = True
        self._coroutine.close()

    def _step(self, _: abc.SchedulerBase, number: int | None = None) -> None:
        with self._lock:
            if number != self._number or self._next_step.is_disposed:
                return
            self._stepping, self._sleeping = True, False
        try:
            wait = next(self._coroutine, None)
        except BaseException as error:
            if self.in_first_step and not isinstance(error, Exception):
                raise  # Ctrl-C, of whoever started it
            self._on_error(error)
            return
        self.in_first_step = False
        if wait is None:
            self._on_completed()
            return
        with self._lock:
            self._stepping = False
            self._number += 1
            number, delay = self._number, wait.seconds
            if wait.until_woken:
                self._sleeping = not self._woken
                delay = delay if self._sleeping else 0.0
                self._woken = False
        if self._next_step.is_disposed:
            self._close()
        else:
            self._schedule(delay, number)

    def _schedule(self, delay: float, number: int) -> None:
        self._next_step.disposable = self._scheduler.schedule_relative(delay, self._step, number)
