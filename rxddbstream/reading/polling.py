"""One shard as an Observable of pages: drives a `ShardReader` on a scheduler.

Each tick makes one call and schedules the next tick. The call alone is retried; what the observer
does with a page is none of a retry's business.
"""

from __future__ import annotations

import random
import threading
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, MultipleAssignmentDisposable

from rxddbstream.checkpoints.frontier import Frontier
from rxddbstream.errors import ConfigurationError, TransientError
from rxddbstream.model.change import Change, sound_time
from rxddbstream.model.events import Gap, ShardClosed, ShardOpened
from rxddbstream.model.messages import Answer, GetIterator, GetRecords, Iterator, LookUp, Request
from rxddbstream.model.origin import Origin
from rxddbstream.model.page import Page
from rxddbstream.model.position import Latest
from rxddbstream.protocol.lineage import Ready
from rxddbstream.protocol.pacing import backoff
from rxddbstream.protocol.reader import ShardReader
from rxddbstream.reading.calls import ShardCalls
from rxddbstream.reading.retry import Failures
from rxddbstream.reading.subscription import Subscription

CALLS_BEFORE_FIRST_PAGE = 400  # a second, of all shards that have had none
DOUBT_CEILING = 5.0  # seconds between two doubtful answers, of which some take many to be believed
LOOK_UP_INTERVAL = 0.5  # seconds between two pages of a look-up; an account may ask for ten a second


def pages(subscription: Subscription, start: Ready) -> Observable[Page]:
    """A shard's pages, from where it starts to its end.

    ::

        --page-----page-page-------------page-|   read to the end of the shard
        --page-----page-----#                     lost changes, a denied permission, ...

    With a store it is read by one subscription at a time: what one has done would count for the other.
    """
    in_use = threading.Lock()

    def subscribe(observer: abc.ObserverBase[Page], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        if subscription.writer is None:
            return _Poller(subscription, start, observer).start()
        if not in_use.acquire(blocking=False):
            observer.on_error(
                ConfigurationError(
                    f"shard {start.shard.id} is subscribed to twice at once, and has one checkpoint; "
                    "share one subscription with ops.publish() or ops.share()"
                )
            )
            return Disposable()
        over = Disposable(in_use.release)
        try:
            return CompositeDisposable(_Poller(subscription, start, observer).start(), over)
        except BaseException:
            over.dispose()
            raise

    return Observable(subscribe)


class _Poller:
    """One subscription to one shard.

    Behind a page with records the next call is made at once, while the page is delivered, unless pages of
    other shards wait for that, too. Its answer waits until that is over; there is never more than one ahead::

        call 1 ── deliver 1 ────────────┐── deliver 2 ──────────
                  call 2 ── (waits) ────┘   call 3 ── (waits) ──
    """

    def __init__(self, subscription: Subscription, start: Ready, observer: abc.ObserverBase[Page]) -> None:
        self._subscription = subscription
        self._position = start.position
        self._observer: Any = observer  # RxPY's, which knows whether it has stopped
        self._next_tick = MultipleAssignmentDisposable()
        self._lock = threading.Lock()  # guards these two; never held while calling out
        self._is_delivering = False
        self._ahead: tuple[Request, Answer | Exception] | None = None
        self._opened = self._completed = False
        self._last_change: Change | None = None
        shard, options, counts = start.shard, subscription.options, subscription.progress.counts
        self._calls = ShardCalls(subscription.client, shard.id, counts)
        self._failures = Failures(
            options.poll, subscription.turns.clock, counts, subscription.events, shard.id
        )
        now = subscription.client.answered_at
        # When nothing had been delivered yet.
        self._unread_at = subscription.beginning.last_answer(shard.id, now)
        self._origin = Origin(subscription.progress)
        self._frontier: Frontier | None = None
        if subscription.writer is not None:
            self._origin = self._frontier = subscription.writer.frontier(
                shard.id,
                subscription.beginning.fixed(start.position),
                lambda: self._unread_at,
                subscription.progress,
            )
        self._reader = ShardReader(
            shard,
            start.position,
            subscription.beginning,
            now=now,
            end=options.end,
            read_up_to=subscription.progress.read_up_to(shard.id),
            origin=self._origin,
        )

    def start(self) -> abc.DisposableBase:
        self._subscription.progress.begins(self._reader.shard.id)
        if isinstance(self._position, Latest):
            # "Latest" is the moment of subscribing, not of the first tick: ask before returning.
            self._call()
        else:
            self._schedule(0.0)
        return CompositeDisposable(self._next_tick, Disposable(self._stop))

    def _stop(self) -> None:
        # RxPY disposes at the end, too; there, what is held by then may still be released.
        if self._completed:
            return
        if self._frontier is not None:
            self._frontier.stop()
        self._origin.is_cut = True
        self._subscription.progress.stopped(self._reader.shard.id)

    def _schedule(self, delay: float) -> None:
        self._next_tick.disposable = self._subscription.turns.scheduler.schedule_relative(delay, self._tick)

    def _tick(self, _: abc.SchedulerBase, state: Any = None) -> None:
        try:
            self._ask()
        except BaseException as error:  # noqa: BLE001 - see _fail
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        # The worker would go on, and this shard would not. What the end itself has raised nobody can be told.
        if self._observer.is_stopped:
            raise error
        self._observer.on_error(error)

    def _ask(self) -> None:
        reader, subscription = self._reader, self._subscription
        if not isinstance(reader.next_request(), GetRecords):
            self._call()
        elif not subscription.progress.must_wait(reader.shard.id, lambda: self._schedule(0.0)):
            # What is unknown to be behind comes no sooner than what is known to be.
            subscription.turns.take(self._call, reader.lag if reader.read_up_to is not None else 0.0)

    def _call(self) -> None:
        if self._next_tick.is_disposed:
            return
        request = self._reader.next_request()
        answer: Answer | Exception
        try:
            answer = self._calls.answer(request, self._reader.may_be_refused)
        except Exception as error:  # noqa: BLE001 - handled in its turn, like an answer
            answer = error
        self._take(request, answer)

    def _take(self, request: Request, answer: Answer | Exception) -> None:
        # Answers are handled one at a time, in the order of the calls, or changes would change places. The
        # lock is held for the flag alone: a page is delivered without it, for as long as the observer takes,
        # and whoever brings the next answer meanwhile leaves it here and goes back to the pool.
        with self._lock:
            if self._is_delivering:
                self._ahead = request, answer
                return
            self._is_delivering = True
        if not self._next_tick.is_disposed:
            try:
                self._handle(request, answer)
            except BaseException as error:  # noqa: BLE001 - see _fail
                self._fail(error)
        # The flag goes down and the answer is fetched under one lock: else one that comes in between would
        # lie here for ever.
        with self._lock:
            self._is_delivering = False
            ahead, self._ahead = self._ahead, None
        if ahead is not None:
            # Not here: other shards have their turn in between.
            self._next_tick.disposable = self._subscription.turns.scheduler.schedule(
                lambda *_: self._take(*ahead)
            )

    def _handle(self, request: Request, answer: Answer | Exception) -> None:
        # First the reader takes the answer in, and knows the next question. Then the outcome: that the shard
        # is open is told before its first page, and the watermark moves after a page, whose changes would be
        # late otherwise. The shard's end comes last, since its children may start at once.
        reader = self._reader
        try:
            if isinstance(answer, Exception):
                raise answer
            outcome = reader.receive(answer, self._subscription.client.answered_at)
        except TransientError as error:
            self._retry(error)
            return
        except Exception as error:  # noqa: BLE001 - a worker must not die of it in silence
            self._observer.on_error(error)
            return
        self._answered(answer)
        is_ahead = False
        if isinstance(outcome, Page):
            is_ahead = self._deliver(outcome)
        elif isinstance(outcome, Gap):
            loss = self._subscription.report(outcome)
            if loss is not None:
                self._observer.on_error(loss)
                return
        elif reader.ended and not reader.stopped_short:
            pass  # it was closed at some time before this answer, and its children may have changes since
        elif reader.quiet_until is not None:
            self._subscription.progress.caught_up(reader.shard.id, reader.quiet_until)
        elif isinstance(request, GetRecords):
            self._subscription.progress.behind(reader.shard.id, reader.lag)
        if self._next_tick.is_disposed:
            return
        if self._last_change is None:
            self._unread_at = reader.last_answer
        if reader.ended:
            self._end()
        elif not is_ahead:
            self._schedule(self._delay_after(request, answer))

    def _answered(self, answer: Answer) -> None:
        self._failures.forget()
        if isinstance(answer, Iterator) and not self._opened:
            self._opened = True
            self._subscription.events.emit(ShardOpened(self._reader.shard, self._position))

    def _deliver(self, page: Page) -> bool:
        """Hand the page on; whether the next call has been made meanwhile."""
        self._last_change = page.changes[-1]
        with self._subscription.turns.in_hand() as is_only_page:
            # While others wait to be delivered, their workers have fetched ahead enough.
            is_ahead = is_only_page and not self._reader.ended
            if is_ahead:
                self._schedule(0.0)
            self._observer.on_next(page)
            self._delivered(page, self._last_change)
        return is_ahead

    def _delivered(self, page: Page, last: Change) -> None:
        if self._frontier is not None and self._frontier.done is not last:
            return  # stopped in the middle: no window may close without the rest, and be kept as emitted
        if self._subscription.writer is not None:
            self._subscription.writer.delivered(len(page.changes))
        self._subscription.progress.read(page.shard_id, sound_time(reversed(page.changes)), self._reader.lag)

    def _delay_after(self, request: Request, answer: Answer) -> float:
        subscription, reader = self._subscription, self._reader
        if isinstance(answer, Iterator) and request != GetIterator(Latest()):
            return 0.0  # one that waits may expire
        if isinstance(request, LookUp) and isinstance(reader.next_request(), LookUp):
            return LOOK_UP_INTERVAL
        if reader.doubts:
            return backoff(reader.doubts, random.random(), ceiling=DOUBT_CEILING)
        if isinstance(answer, Iterator):
            wait = subscription.options.poll.fastest  # behind "latest" there is nothing yet
        elif isinstance(request, GetRecords):
            wait = subscription.options.poll.after_empty_pages(reader.idle_steps)
        else:
            wait = 0.0
        if wait and self._last_change is None:
            # Thousands may be opened at once, most of them idle: none is in a hurry before its first page.
            poll = subscription.options.poll
            share = subscription.progress.shards / CALLS_BEFORE_FIRST_PAGE
            if not reader.is_at_tip:
                share *= wait / poll.fastest
            wait = max(wait, min(poll.slowest, share))
        return wait

    def _retry(self, error: TransientError) -> None:
        self._reader.call_failed()
        delay = self._failures.delay_after(error)
        if delay is None:
            self._observer.on_error(error)
        else:
            self._schedule(delay)

    def _end(self) -> None:
        shard = self._reader.shard
        self._completed = self._origin.is_read = True
        try:
            self._observer.on_completed()
        except BaseException as error:  # noqa: BLE001 - the observer of this shard can be told no more
            self._subscription.listener.failed(error)
            return
        # A delivery that was stopped in the middle of the last page has not read the shard to its end.
        frontier, last = self._frontier, self._last_change
        if (
            frontier is not None
            and not self._reader.stopped_short
            and (last is None or frontier.done is last)
        ):
            frontier.end()
        self._subscription.events.emit(ShardClosed(shard))
        self._subscription.listener.ended(shard, self._reader.stopped_short)
