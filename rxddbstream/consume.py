"""Subscribing and waiting: `run()`, a `for` loop, an `async for` loop.

RxPY's own `run()` and `await` do not dispose what they subscribed to, and can hang at exit. These dispose,
have the last checkpoints written, and give their threads half a second to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from functools import partial
from queue import Empty
from typing import TypeVar, cast

from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import SerialDisposable

from rxddbstream.checkpoints.guard import Stage, keeps_checkpoints
from rxddbstream.checkpoints.holding import defer, defer_for_ever
from rxddbstream.checkpoints.observing import taker
from rxddbstream.errors import ConfigurationError, HeldTooLate
from rxddbstream.model.times import Seconds
from rxddbstream.scheduling.caller import CallerScheduler
from rxddbstream.scheduling.lane import FORKED, forks
from rxddbstream.scheduling.pool import TimerPoolScheduler
from rxddbstream.scheduling.queue import MAX_PENDING, BoundedQueue, Ended
from rxddbstream.scheduling.signals import Signals

T = TypeVar("T")

DOCKERS_GRACE = 10.0  # https://docs.docker.com/reference/cli/docker/container/stop/

EXIT_PATIENCE = 0.5  # seconds that threads are given to end; one in the middle of a call takes longer


class _Subscription:
    """One subscription, on threads of its own.

    Attributes:
        pool: where the shards are read.
        caller: the thread that made this, for whoever serves it.
    """

    def __init__(self) -> None:
        self.pool = TimerPoolScheduler()
        self.pool.serves_one = True
        self.caller = CallerScheduler(self.pool)
        self._subscription = SerialDisposable()
        self._over = threading.Event()

    def subscribe(
        self,
        source: Observable[T],
        on_next: Callable[[T], None],
        on_error: Callable[[Exception], None],
        on_completed: Callable[[], None],
        scheduler: abc.SchedulerBase | None = None,
    ) -> None:
        # When everything is disposed, and so the last checkpoint written; on_completed comes before that.
        watched = Stage(ops.finally_action(self._end)(source), keeps_checkpoints=True)
        self._subscription.disposable = watched.subscribe(
            on_next, on_error, on_completed, scheduler=scheduler or self.pool
        )

    def _end(self) -> None:
        self._over.set()
        self.caller.stop()

    @property
    def is_of_another_process(self) -> bool:
        """Whether the process was forked since: it has none of the threads, and all else is the parent's."""
        return self.pool.unusable == FORKED

    def refuse_another_process(self) -> None:
        """Raise, rather than wait for what never comes.

        Raises:
            ConfigurationError: this is not the process that subscribed.
        """
        if self.is_of_another_process:
            raise ConfigurationError(f"the subscription {FORKED}")

    def wait(self) -> None:
        """Until it is over, and its last checkpoint was written."""
        # In slices: on Windows an endless wait cannot be interrupted.
        while not self._over.wait(1.0):
            pass

    def stop(self) -> None:
        """Dispose, from any thread, also one of its own; the pool first, which stops all deliveries.

        In a child that was forked since, the subscription is left to the parent.
        """
        if self.is_of_another_process:
            return
        self.pool.shutdown()
        self.caller.close()
        self._subscription.dispose()

    def dispose(self) -> None:
        try:
            self.stop()
        finally:
            self.pool.shutdown(wait=EXIT_PATIENCE)


def run(
    source: Observable[T], on_next: Callable[[T], object] | None = None, *, grace: Seconds = DOCKERS_GRACE
) -> None:
    """Subscribe, and block until the end; the pipeline runs on the thread that called.

    The shards are read on other threads. What they have read comes to this one, time-based operators
    have their turn on it between two changes, and so `on_next` and the operators' functions are called on
    it, one at a time. An operator with a scheduler of its own, such as `observe_on`, goes on there.

    Ctrl-C and SIGTERM end it in order, on the main thread, and if the program has no handlers of its own: a
    call of `on_next` that has begun may end, and counts as done; nothing more is delivered, the last
    checkpoint is written. A second Ctrl-C does not wait. What runs on another thread, behind `observe_on`, is
    not waited for: its change comes again.

    Args:
        source: any Observable.
        on_next: what to call with each element; a coroutine function is refused.
        grace: how long (seconds, or a timedelta) that may take after the signal; then it is interrupted, and
            what it was at does not count as done. By default as long as Docker waits before it kills.

    Raises:
        ConfigurationError: `on_next` is a coroutine function, or returns a coroutine; a negative `grace`; or
            this process was forked from the one that subscribed, and has none of the threads.
        BaseException: what the stream ended with, or what `on_next` raised.
        KeyboardInterrupt: on Ctrl-C, when everything is disposed.
        SystemExit: on SIGTERM, likewise; with the status 143, which is that of a process that died of it.

    >>> import reactivex
    >>> run(reactivex.of(1, 2), print)
    1
    2
    """
    failures: list[BaseException] = []
    take = taker(on_next, "on_next") if on_next is not None else None
    subscription = _Subscription()
    caller, before = subscription.caller, forks.count
    signals = Signals(_seconds(grace), caller.stop)

    def observe(element: T) -> None:
        if signals.received is not None:
            subscription.stop()  # first, or this element would count as done
            return
        try:
            if take is not None:
                take(element)
            if forks.count != before:  # `on_next` has forked, and is in the child
                subscription.refuse_another_process()
        except BaseException as error:
            # Of a timer's thread, such as a time window's, the source would never hear.
            failures.append(error)
            subscription.stop()
            raise

    with signals:
        try:
            subscription.subscribe(source, observe, failures.append, lambda: None, caller)
            signals.defer()
            caller.serve()
            subscription.refuse_another_process()
        except BaseException as error:  # noqa: BLE001 - raised when all is disposed of
            failures.append(error)
        finally:
            subscription.dispose()
    if failures:
        raise failures[0]
    if signals.received is not None:
        raise signals.received


def _seconds(grace: Seconds) -> float:
    seconds = grace.total_seconds() if isinstance(grace, timedelta) else grace
    if not seconds >= 0:
        raise ConfigurationError(f"grace={grace!r} must be a number of seconds, at least 0, or a timedelta")
    return seconds


def iterate(source: Observable[T], *, max_pending: int = MAX_PENDING) -> Iterator[T]:
    """Subscribe at once, and iterate over what comes.

    An element is done when the loop comes back for the next one, and so are the changes that it stands for:
    the change that was being delivered when it came, those of a list, those of a window. Leaving the loop, by
    `break` or an exception, disposes the subscription; the element that it was left at is not done, and its
    changes come again if checkpoints are kept.

    Args:
        source: any Observable.
        max_pending: how many elements may wait for the loop; the source waits when it is full.

    Raises:
        Exception: what the stream ended with, from the loop.
        ConfigurationError: this process was forked from the one that subscribed, and has none of the threads.
        HeldTooLate: checkpoints are kept, and an element stands for changes that were kept as done already,
            or that nobody knows: it comes from a thread of its own, as a time-based operator's do.

    >>> import reactivex
    >>> [number for number in iterate(reactivex.of(1, 2, 3))]
    [1, 2, 3]
    """
    iterator = _iterate(source, max_pending)
    next(iterator)  # subscribes, so that "latest" means now, and not the first turn of the loop
    return cast(Iterator[T], iterator)


def _defer_of(source: Observable[T]) -> Callable[[T], Callable[[], None]]:
    return partial(defer, must_know=keeps_checkpoints(source))


def _put(queue: BoundedQueue[T], element: T) -> None:
    try:
        queue.put(element)
    except HeldTooLate as error:
        # Not raised, since on a timer's thread nobody would hear of it. The loop will end with it.
        defer_for_ever()
        queue.end(error)


def _iterate(source: Observable[T], max_pending: int) -> Iterator[T | None]:
    queue: BoundedQueue[T] = BoundedQueue(max_pending, defer=_defer_of(source))
    queue.taken_here()
    subscription = _Subscription()
    try:
        subscription.subscribe(source, partial(_put, queue), queue.end, queue.end)
        yield None
        while True:
            subscription.refuse_another_process()
            try:
                # In slices: on Windows an endless wait cannot be interrupted.
                element, done = queue.take(timeout=1.0)
            except Empty:
                continue
            except Ended as end:
                queue.close()
                if isinstance(end.error, HeldTooLate):
                    subscription.stop()  # it may be ours, of which the source does not know
                subscription.wait()
                if end.error is not None:
                    raise end.error from None
                return
            yield element
            subscription.refuse_another_process()
            done()
    finally:
        if not subscription.is_of_another_process:  # where another thread may have had the queue's lock
            queue.close()
            subscription.dispose()


async def aiterate(source: Observable[T], *, max_pending: int = MAX_PENDING) -> AsyncIterator[T]:
    """Iterate over what comes, in a coroutine; the event loop is never blocked.

    It subscribes at the first turn of the loop, and is otherwise like `iterate`. Cancelling the task disposes
    the subscription, too. Close the iterator (`contextlib.aclosing`) to have it disposed as soon as the
    loop is left.

    Args:
        source: any Observable.
        max_pending: how many elements may wait for the loop; the source waits when it is full.

    Raises:
        Exception: what the stream ended with, from the loop.

    >>> import reactivex
    >>> async def collect():
    ...     return [number async for number in aiterate(reactivex.of(1, 2, 3))]
    >>> asyncio.run(collect())
    [1, 2, 3]
    """
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(arrived.set)

    queue: BoundedQueue[T] = BoundedQueue(max_pending, defer=_defer_of(source), wake=wake)
    queue.taken_here()
    subscription = _Subscription()

    def subscribe(*_: object) -> None:
        try:
            subscription.subscribe(source, partial(_put, queue), queue.end, queue.end)
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it
            queue.end(error)

    # Subscribing and disposing may make calls, so they are done in a thread.
    subscription.pool.schedule(subscribe)
    try:
        while True:
            subscription.refuse_another_process()
            arrived.clear()
            try:
                element, done = queue.take()
            except Empty:
                await arrived.wait()
                continue
            except Ended as end:
                if end.error is not None:
                    raise end.error from None
                return
            yield element
            subscription.refuse_another_process()
            done()
    finally:
        if not subscription.is_of_another_process:
            queue.close()
            await asyncio.shield(asyncio.to_thread(subscription.dispose))
