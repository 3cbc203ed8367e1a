"""Run many timed actions on few threads.

RxPY's own pools hold a thread for as long as an action waits for its due time, so a thousand
shards that poll themselves need a thousand threads. Here waiting costs an entry in a heap: one
timer thread moves what is due to a ready queue, and a fixed number of workers runs it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

from reactivex.scheduler.periodicscheduler import PeriodicScheduler

from rxddbstream.scheduling.calling import call_each
from rxddbstream.scheduling.lane import FORKED, Item, Lane, Timer

__all__ = ["WORKERS", "TimerPoolScheduler"]

WORKERS = 16


class TimerPoolScheduler(Lane):
    """A scheduler for many timed actions on few daemon threads.

    One timer thread waits for due times, up to `workers` threads run the actions, and one more each
    serves `control` and `writing`. Threads start with the first work for them. An exception that escapes an
    action goes to `threading.excepthook`, and the worker goes on. In a process that was forked,
    scheduling on it raises a RuntimeError.

        >>> from reactivex import interval, operators as ops
        >>> with TimerPoolScheduler(workers=4) as scheduler:
        ...     interval(0.01, scheduler=scheduler).pipe(ops.take(3), ops.to_list()).run()
        [0, 1, 2]

    Attributes:
        serves_one: whether it is of one subscription alone, and ends with it. The shutdown of any other is an
            error to those that read on it.
    """

    def __init__(self, workers: int = WORKERS, *, name: str = "rxddbstream") -> None:
        if workers < 1:
            raise ValueError(f"a pool needs at least one worker, not {workers}")
        super().__init__(Timer(f"{name}-timer"), workers, f"{name}-worker")
        self._control = Lane(self._timer, 1, f"{name}-control")
        self._writing = Lane(self._timer, 1, f"{name}-writing")
        self.serves_one = False
        self._before_shutdown: set[Callable[[], object]] = set()

    @property
    def control(self) -> PeriodicScheduler:
        """The same scheduler with a worker of its own, which busy workers cannot delay.

        >>> with TimerPoolScheduler(workers=1) as scheduler:
        ...     over = threading.Event()
        ...     _ = scheduler.schedule(lambda *_: over.wait())  # the only worker is busy
        ...     _ = scheduler.control.schedule(lambda *_: over.set())
        ...     over.wait(timeout=5)
        True
        """
        return self._control

    @property
    def writing(self) -> PeriodicScheduler:
        """One more with a worker of its own, for what must not wait for a person's code either."""
        return self._writing

    @property
    def unusable(self) -> str | None:
        """Why nothing that is scheduled will run: after a shutdown, or a fork; None if it will.

        >>> scheduler = TimerPoolScheduler(workers=1)
        >>> scheduler.shutdown()
        >>> scheduler.unusable
        'was shut down'
        """
        if self._timer.is_of_another_process:
            return FORKED
        return "was shut down" if self._timer.closed else None

    def before_shutdown(self, action: Callable[[], object]) -> None:
        """Have an action called when `shutdown` begins, while everything still runs."""
        self._before_shutdown.add(action)

    def not_before_shutdown(self, action: Callable[[], object]) -> None:
        """Take that back."""
        self._before_shutdown.discard(action)

    def shutdown(self, wait: float = 0.0) -> None:
        """Drop what is pending and end the threads; join them for `wait` seconds in total.

        An action that is running is not interrupted. Whatever is scheduled from now on comes
        back disposed and is never run, without an error, since a dispose may race it. In a process
        that was forked since, nothing is done: it has none of the threads.

        Raises:
            BaseException: what somebody raised who was told of the end, once it is over.
        """
        if self._timer.is_of_another_process:
            return
        deadline = time.monotonic() + wait
        try:
            call_each(list(self._before_shutdown))
        finally:
            self._end(deadline)

    def _end(self, deadline: float) -> None:
        dropped: list[Item] = []
        lanes: list[Lane] = [self, self._control, self._writing]
        with self._timer.lock:
            if not self._timer.closed:
                dropped = [*self._timer.close(), *(item for lane in lanes for item in lane._drain())]
            threads = [*self._timer.threads, *(thread for lane in lanes for thread in lane._threads)]
        for item in dropped:
            item.dispose()
        for thread in threads:
            if thread is not threading.current_thread():
                _join(thread, deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=1.0)


def _join(thread: threading.Thread, deadline: float) -> None:
    while (left := deadline - time.monotonic()) > 0:
        try:
            thread.join(left)
        except RuntimeError:  # Ctrl-C can interrupt `start` before the new thread has begun to run
            time.sleep(0.001)
        else:
            return
