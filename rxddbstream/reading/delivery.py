"""From pages to changes: one lock a page, a plain loop inside.

Blocking is the backpressure: a slow observer holds the lock, so that each worker waits with one page
at most. An exception that an observer raises ends the subscription: it gets it as `on_error`, and
nothing after that change is delivered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler

from rxddbstream.aws.client import StreamClient
from rxddbstream.checkpoints.acknowledgement import all_afterwards, delivering, run_all
from rxddbstream.checkpoints.guard import Guarded
from rxddbstream.errors import ConfigurationError, StreamError
from rxddbstream.model.change import Change, place_of
from rxddbstream.model.page import Page
from rxddbstream.model.position import Position
from rxddbstream.model.shard import Shard
from rxddbstream.reading.readers import Readers
from rxddbstream.scheduling.caller import CallerScheduler
from rxddbstream.scheduling.pool import TimerPoolScheduler
from rxddbstream.scheduling.within import plain, replaced

OPENING_PATIENCE = 2.0  # seconds that a delivery waits for the outermost `subscribe` to return


class ShardStream(Guarded[Change]):
    """The changes of one shard, in order: an Observable with the shard's name on it.

    It completes when the shard was read to its end. The shards that continue it are emitted after
    that; they are not, if the subscription is disposed before. An error that its subscriber does not take,
    having no `on_error`, ends the stream of shards. That one may be disposed before: the shard is read on.

    Args:
        readers: who reads the shards of this subscription; None where they are merged.
        keeps_checkpoints: whether it makes a difference when a change is done.

    Attributes:
        shard: which shard.
        position: where its reading begins.
        pages: the same changes, a page at a time.
        client: what asks the service; it knows the stream's ARN, and the service's time.
    """

    def __init__(
        self,
        shard: Shard,
        position: Position,
        pages: Observable[Page],
        client: StreamClient,
        readers: Readers | None = None,
        *,
        keeps_checkpoints: bool = False,
    ) -> None:
        super().__init__()
        self._keeps_checkpoints = keeps_checkpoints
        self.shard = shard
        self.position = position
        self.pages = pages
        self.client = client
        self._readers = readers

    def _subscribe_core(
        self, observer: abc.ObserverBase[Change], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        readers = self._readers
        delivery = _Delivery(observer, plain(scheduler), readers=readers)
        if readers is not None:
            readers.enter(delivery)
        try:
            subscription = self.pages.subscribe(
                delivery.deliver, delivery.fail, delivery.complete, scheduler=scheduler
            )
        except BaseException:
            if readers is not None:
                readers.leave(delivery)
            raise
        ends = CompositeDisposable(Disposable(delivery.stop), subscription)
        if readers is not None:
            ends.add(Disposable(partial(readers.leave, delivery)))
        return ends

    def __repr__(self) -> str:
        return f"<ShardStream {self.shard.id} from {self.position}>"


def merge_shards(
    source: Observable[ShardStream],
    observer: abc.ObserverBase[Change],
    scheduler: abc.SchedulerBase | None = None,
    *,
    polls: abc.SchedulerBase | None = None,
) -> abc.DisposableBase:
    """Subscribe to all shards' changes as one stream, each shard's in order.

    ::

        --A------B-----------|
          A: -a1-a2----a3-|
                 B: -b1----b2--|
        ----a1-a2--b1--a3--b2--|

    Args:
        polls: where the shards are read, if not on `scheduler`.
    """
    return _Merge(observer, scheduler, polls).start(source)


class _Delivery:
    """Serialises what several threads deliver to one observer.

    It begins when the outermost `subscribe` has returned: before that, an operator that fails has nothing
    to dispose yet, and cannot stop what follows.
    """

    def __init__(
        self,
        observer: abc.ObserverBase[Change],
        given: abc.SchedulerBase | None,
        polls: abc.SchedulerBase | None = None,
        readers: Readers | None = None,
    ) -> None:
        self._observer: Any = observer  # RxPY's, which knows whether it has stopped
        self._unhandled = readers.unhandled if readers is not None else None
        self._caller = given if isinstance(given, CallerScheduler) else None  # on whose thread it is observed
        polls = polls or (self._caller.pool if self._caller else given)
        # Re-entrant: an observer may dispose, and so complete or stop, from inside on_next.
        self._lock = threading.RLock()
        self._stopped = self._is_handing_on = False
        self._last_error: BaseException | None = None  # to be told by whoever has the lock
        # Of a shutdown, `Readers` tells all of its own.
        self._scheduler = polls if isinstance(polls, TimerPoolScheduler) and readers is None else None
        self._opener = threading.get_ident()
        self._opened = threading.Event()
        # The trampoline runs this after the outermost subscribe; see `Observable.subscribe`.
        CurrentThreadScheduler.singleton().schedule(lambda *_: self._opened.set())
        # Whoever runs us stops us before it disposes: RxPY disposes from the outside in, and an operator
        # that is disposed already would drop what still comes, which would count as done.
        if self._scheduler is not None:
            self._scheduler.before_shutdown(self._shut_down)

    def _wait_until_opened(self) -> None:
        # Not for ever: a trampoline that an exception has ended, or that a caller blocks, runs no more.
        if not self._opened.is_set() and self._opener != threading.get_ident():
            self._opened.wait(OPENING_PATIENCE)
            self._opened.set()

    def _call(self, action: Callable[[], object]) -> None:
        if self._caller is None:
            action()
        else:
            self._caller.call(action)

    def deliver(self, page: Page) -> None:
        self._call(partial(self._deliver, page))

    def _deliver(self, page: Page) -> None:
        self._wait_until_opened()
        with self._lock:
            try:
                self._is_handing_on = True
                with delivering(page.origin):
                    self._hand_on(page)
            except BaseException as error:  # noqa: BLE001 - a SystemExit is lost on a worker thread
                if isinstance(page.origin.current, Change) and not isinstance(error, StreamError):
                    error.add_note(f"It was raised when {place_of(page.origin.current)} was delivered.")
                self.fail(error)
            finally:
                self._is_handing_on = False
        # Without the lock: a shutdown tells it by itself from the moment that it can have that.
        self._fail_at_last()

    def _hand_on(self, page: Page) -> None:
        observer, on_next, origin = self._observer, self._observer.on_next, page.origin
        caller, afterwards = self._caller, all_afterwards()
        nothing_due = caller.nothing_due if caller is not None else None
        for change in page.changes:
            if caller is not None and nothing_due is not None and not nothing_due():
                with delivering(None):
                    caller.run_due()
            if self._stopped or self._last_error is not None:
                return
            origin.current = change
            on_next(change)
            if self._stopped or self._last_error is not None or observer.is_stopped:
                return  # whoever disposes, or fails, stops the observer first; then on_next does nothing
            origin.done = change
            if afterwards:
                run_all(afterwards)

    def fail(self, error: BaseException) -> None:
        self._call(partial(self._fail, error))

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            try:
                self._observer.on_error(error)
                return
            except BaseException as raised:
                if self._unhandled is None:
                    raise
                error = raised
        # Without an `on_error` RxPY raises the error, here on a worker: the other shards would be read on,
        # and those that continue this one would never come.
        self._unhandled(error)

    def complete(self) -> None:
        self._call(self._complete)

    def _complete(self) -> None:
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._observer.on_completed()

    def stop(self) -> None:
        # Without the lock: whoever disposes need not wait for a slow observer.
        self._stopped = True
        self._opened.set()
        if self._scheduler is not None:
            self._scheduler.not_before_shutdown(self._shut_down)

    def _shut_down(self) -> None:
        assert self._scheduler is not None
        if self._scheduler.serves_one:
            self.stop()  # whose end it is
            return
        self.break_off(ConfigurationError("the scheduler was shut down while it was reading the stream"))

    def break_off(self, error: BaseException) -> None:
        # Nothing more can be read. Whoever delivers tells so when on_next has returned: we need not wait.
        self._last_error = error
        self._opened.set()
        if self._caller is not None:
            self._caller.post(self._fail_unless_delivering)
        else:
            self._fail_unless_delivering()

    def _fail_unless_delivering(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                if not self._is_handing_on:  # by this very thread, whose on_next has not returned
                    self._fail_at_last()
            finally:
                self._lock.release()

    def _fail_at_last(self) -> None:
        if self._last_error is not None:
            self.fail(self._last_error)


class _Merge:
    """One subscription to all shards."""

    def __init__(
        self,
        observer: abc.ObserverBase[Change],
        scheduler: abc.SchedulerBase | None,
        polls: abc.SchedulerBase | None,
    ) -> None:
        given = plain(scheduler)
        self._delivery = _Delivery(observer, given, polls)
        # Who finds the shards need not wait for the observer.
        reads = given.pool if isinstance(given, CallerScheduler) else given
        self._scheduler = replaced(scheduler, reads)
        self._group = CompositeDisposable(Disposable(self._delivery.stop))
        self._lock = threading.Lock()
        self._open = 1  # the shards being read, and the source itself

    def start(self, source: Observable[ShardStream]) -> abc.DisposableBase:
        subscription = SingleAssignmentDisposable()
        self._group.add(subscription)
        subscription.disposable = source.subscribe(
            self._add, self._delivery.fail, self._one_completed, scheduler=self._scheduler
        )
        return self._group

    def _add(self, stream: ShardStream) -> None:
        subscription = SingleAssignmentDisposable()
        self._group.add(subscription)
        with self._lock:
            self._open += 1

        def completed() -> None:
            self._group.remove(subscription)
            self._one_completed()

        subscription.disposable = stream.pages.subscribe(
            self._delivery.deliver, self._delivery.fail, completed, scheduler=self._scheduler
        )

    def _one_completed(self) -> None:
        with self._lock:
            self._open -= 1
            all_completed = self._open == 0
        if all_completed:
            self._delivery.complete()
