"""A queue of actions and the workers that serve it; what is not due yet waits in a heap, without a thread."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from reactivex.abc import DisposableBase, ScheduledAction
from reactivex.scheduler.periodicscheduler import PeriodicScheduler
from reactivex.typing import AbsoluteTime, RelativeTime

FORKED = "was made before this process was forked, and its threads are in the other one; make a new one here"

_T = TypeVar("_T")


class _Forks:
    """How often this process was forked off; a look at it costs less than the system's answer who we are."""

    count = 0

    def add(self) -> None:
        self.count += 1


forks = _Forks()
if hasattr(os, "register_at_fork"):  # not on Windows, where there is nothing to count
    os.register_at_fork(after_in_child=forks.add)

# No timeout of the platform's may overflow, however far away the next due time is.
_LONGEST_WAIT = 60.0

# Cancelled timers that are left in the heap without a thought; they hold nothing alive.
_CANCELLED_SLACK = 64


class Item(DisposableBase):
    """One scheduled action; disposing of it cancels the action, or what the action returned."""

    __slots__ = ("_call", "_result", "in_heap", "is_disposed", "lane")

    def __init__(self, lane: Lane, action: ScheduledAction[Any], state: Any) -> None:
        self.lane = lane
        # One reference, so that a worker reads it at once while another thread cancels.
        self._call: tuple[ScheduledAction[Any], Any] | None = (action, state)
        self._result: DisposableBase | None = None
        self.in_heap = False
        self.is_disposed = False

    def run(self) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        try:
            # Store, then look; `dispose` marks, then looks: so one of the two disposes of it, and
            # the busiest path of the pool needs no lock.
            self._result = result = self.lane.invoke_action(*call)
            if self.is_disposed:
                result.dispose()
        except BaseException as error:  # noqa: BLE001 - whose thread it is decides
            self.lane._failed(error)

    def dispose(self) -> None:
        if self.lane._timer.is_of_another_process:  # where a thread may have the lock that is not here
            return
        with self.lane._timer.lock:
            if self.is_disposed:
                return
            self.is_disposed = True
            # The entry may stay queued for hours; its closure must not.
            call, self._call = self._call, None
            result, self._result = self._result, None
            if self.in_heap:
                self.lane._timer.count_cancelled()
        del call  # only here: a finalizer that this sets off runs without the lock
        if result is not None:
            result.dispose()


class Timer:
    """The heap and its thread, and the lock that guards the state of a whole pool.

    The lock is reentrant and the queues are `SimpleQueue`s because a garbage collection may run
    a finalizer that disposes or schedules at nearly any point, on a thread that is in here.
    For the same reason only the timer thread takes entries out of the heap.
    """

    def __init__(self, name: str) -> None:
        self.lock = threading.RLock()
        self.closed = False
        self._forks = forks.count
        self.threads: list[threading.Thread] = []
        self._name = name
        self._heap: list[tuple[float, int, Item]] = []
        self._sequence = itertools.count()
        self._cancelled = 0
        self._alarm: SimpleQueue[None] = SimpleQueue()
        self._wakes_at = -math.inf  # -inf: the thread is awake, or has been told to wake up

    @property
    def is_of_another_process(self) -> bool:
        """Whether the process was forked since."""
        return forks.count != self._forks

    def add(self, due: float, item: Item) -> None:
        if not self.threads:
            _start(self.threads, self._run, self._name)
        item.in_heap = True
        heapq.heappush(self._heap, (due, next(self._sequence), item))
        if due < self._wakes_at:
            self._wake()

    def count_cancelled(self) -> None:
        self._cancelled += 1
        if self._too_many_cancelled():
            self._wake()

    def close(self) -> list[Item]:
        self.closed = True
        self._wake()
        return [item for _, _, item in self._heap]

    def _wake(self) -> None:
        if self._wakes_at > -math.inf:
            self._wakes_at = -math.inf
            self._alarm.put(None)

    def _too_many_cancelled(self) -> bool:
        return self._cancelled > max(_CANCELLED_SLACK, len(self._heap) // 2)

    def _run(self) -> None:
        while True:
            with self.lock:
                if self.closed:
                    return
                if self._too_many_cancelled():
                    self._compact()
                now = time.monotonic()
                while self._heap and self._heap[0][0] <= now:
                    item = heapq.heappop(self._heap)[2]
                    item.in_heap = False
                    if item.is_disposed:
                        self._cancelled -= 1
                    else:
                        item.lane._enqueue(item)
                    del item  # a waiting thread keeps nothing alive
                self._wakes_at = self._heap[0][0] if self._heap else math.inf
                timeout = min(max(self._wakes_at - now, 0.0), _LONGEST_WAIT)
            with contextlib.suppress(Empty):
                self._alarm.get(timeout=timeout)

    def _compact(self) -> None:
        # Into a new list, one push at a time: whatever is scheduled meanwhile is not lost.
        entries, self._heap, self._cancelled = self._heap, [], 0
        for entry in entries:
            if not entry[2].is_disposed:
                heapq.heappush(self._heap, entry)


class Lane(PeriodicScheduler):
    """A ready queue and the workers that serve it."""

    def __init__(self, timer: Timer, size: int, name: str) -> None:
        super().__init__()
        self._timer = timer
        self._threads: list[threading.Thread] = []
        self._size = size
        self._name = name
        self._ready: SimpleQueue[Item | None] = SimpleQueue()
        # A token for each worker that waits or is about to: taken under the lock, given without.
        self._idle: deque[None] = deque(maxlen=size)

    def schedule(self, action: ScheduledAction[_T], state: _T | None = None) -> DisposableBase:
        """Run the action as soon as a worker is free."""
        return self._submit(0.0, action, state)

    def schedule_relative(
        self, duetime: RelativeTime, action: ScheduledAction[_T], state: _T | None = None
    ) -> DisposableBase:
        """Run the action after so many seconds (or a timedelta)."""
        return self._submit(self.to_seconds(duetime), action, state)

    def schedule_absolute(
        self, duetime: AbsoluteTime, action: ScheduledAction[_T], state: _T | None = None
    ) -> DisposableBase:
        """Run the action at that time; a wall clock that is set later does not move it."""
        delay = (self.to_datetime(duetime) - self.now).total_seconds()
        return self._submit(delay, action, state)

    def _submit(self, delay: float, action: ScheduledAction[Any], state: Any) -> Item:
        item = Item(self, action, state)
        if self._timer.is_of_another_process:  # before the lock, which a thread may have had when it was lost
            raise RuntimeError(f"the scheduler {FORKED}")
        with self._timer.lock:
            if self._timer.closed:
                item.dispose()
                return item
            if not self._threads:
                self._start_worker()  # here, where a failure reaches the caller
            if delay > 0:
                self._timer.add(time.monotonic() + delay, item)
            else:
                self._enqueue(item)
        return item

    def _enqueue(self, item: Item) -> None:
        if not self._idle and len(self._threads) < self._size:
            # When the system is out of threads, those there are still serve the queue.
            with contextlib.suppress(RuntimeError):
                self._start_worker()
        if self._idle:
            self._idle.pop()
        self._ready.put(item)

    def _start_worker(self) -> None:
        _start(self._threads, self._work, f"{self._name}-{len(self._threads)}")
        self._idle.append(None)

    def _drain(self) -> list[Item]:
        dropped = []
        with contextlib.suppress(Empty):
            while item := self._ready.get_nowait():
                dropped.append(item)
        self._ready.put(None)
        return dropped

    def _failed(self, error: BaseException) -> None:
        _report(error)  # handed on, as a thread of its own would

    def _work(self) -> None:
        while item := self._ready.get():
            item.run()
            del item  # nor does an idle worker
            self._idle.append(None)
        self._ready.put(None)  # pass the end on to the next worker


def _start(threads: list[threading.Thread], run: Callable[[], None], name: str) -> None:
    thread = threading.Thread(target=run, name=name, daemon=True)
    threads.append(thread)
    try:
        thread.start()
    except RuntimeError:  # not on Ctrl-C: the thread may be about to run
        threads.remove(thread)
        raise


def _report(error: BaseException) -> None:
    thread = threading.current_thread()
    args = threading.ExceptHookArgs((type(error), error, error.__traceback__, thread))
    try:
        threading.excepthook(args)
    except Exception as broken:  # noqa: BLE001  (a broken hook must not end the worker either)
        sys.excepthook(type(broken), broken, broken.__traceback__)
