"""One shard as an Observable of pages: drives a `ShardReader` on a scheduler.

Each tick makes one call and schedules the next tick. The call alone is retried; what the observer
does with a page is none of a retry's business.
"""

from __future__ import annotations

import threading
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import MultipleAssignmentDisposable

from rxddbstream.checkpoints.frontier import Frontier
from rxddbstream.errors import (
    IteratorExpired,
    IteratorTrimmed,
    MalformedAnswer,
    RequestFailed,
    ServiceUnavailable,
    ShardNotFound,
    TransientError,
)
from rxddbstream.model.change import Change, Page
from rxddbstream.model.events import Gap, ShardClosed, ShardOpened
from rxddbstream.model.messages import (
    Answer,
    Fault,
    GetIterator,
    GetRecords,
    Iterator,
    Listed,
    LookUp,
    Records,
    Request,
)
from rxddbstream.model.origin import Origin
from rxddbstream.model.position import Latest
from rxddbstream.protocol import pacing
from rxddbstream.protocol.lineage import Ready
from rxddbstream.protocol.reader import ShardReader
from rxddbstream.reading.retry import Failures
from rxddbstream.reading.subscription import Reading

CALLS_BEFORE_FIRST_PAGE = 400  # a second, of all shards that have had none
DOUBT_CEILING = 5.0  # seconds between two doubtful answers, of which some take many to be believed
# So many 500s or broken answers in a row are taken for "AT_TIMESTAMP is not known here".
REFUSALS_BELIEVED = 3
LOOK_UP_INTERVAL = 0.5  # seconds between two pages of a look-up; an account may ask for ten a second


def pages(reading: Reading, start: Ready) -> Observable[Page]:
    """A shard's pages, from where it starts to its end.

    ::

        --page-----page-page-------------page-|   read to the end of the shard
        --page-----page-----#                     lost changes, a denied permission, ...
    """

    def subscribe(observer: abc.ObserverBase[Page], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        return _Poller(reading, start, observer).start()

    return Observable(subscribe)


class _Poller:
    """One subscription to one shard.

    Behind a page with records the next call is made at once, while the page is delivered, unless pages of
    other shards wait for that, too. Its answer waits until that is over; there is never more than one ahead::

        call 1 ── deliver 1 ────────────┐── deliver 2 ──────────
                  call 2 ── (waits) ────┘   call 3 ── (waits) ──
    """

    def __init__(self, reading: Reading, start: Ready, observer: abc.ObserverBase[Page]) -> None:
        self._reading = reading
        self._position = start.position
        self._observer = observer
        self._next_tick = MultipleAssignmentDisposable()
        self._lock = threading.Lock()  # guards these two; never held while calling out
        self._is_delivering = False
        self._ahead: tuple[Request, Answer | Exception] | None = None
        self._opened = False
        self._last_change: Change | None = None
        self._refusals = 0  # in a row; an iterator that is made may still be refused when it is used
        self._failures = Failures(reading.poll, reading.jitter)
        beginning = reading.beginning
        last_answer = beginning.last_answers.get(start.shard.id)
        self._unread_at = last_answer or reading.client.answered_at  # when nothing had been delivered yet
        self._origin = Origin(reading.progress)
        self._frontier: Frontier | None = None
        if reading.writer is not None:
            self._origin = self._frontier = reading.writer.frontier(
                start.shard.id, beginning.fixed(start.position), lambda: self._unread_at, reading.progress
            )
        self._reader = ShardReader(
            start.shard,
            start.position,
            beginning,
            now=reading.client.answered_at,
            end=reading.end,
            origin=self._origin,
        )

    def start(self) -> abc.DisposableBase:
        if isinstance(self._position, Latest):
            # "Latest" is the moment of subscribing, not of the first tick: ask before returning.
            self._call()
        else:
            self._schedule(0.0)
        return self._next_tick

    def _schedule(self, delay: float) -> None:
        self._next_tick.disposable = self._reading.scheduler.schedule_relative(delay, self._tick)

    def _tick(self, _: abc.SchedulerBase, state: Any = None) -> None:
        reader, reading = self._reader, self._reading
        if not isinstance(reader.next_request(), GetRecords):
            self._call()
        elif not reading.progress.must_wait(reader.shard.id, lambda: self._schedule(0.0)):
            reading.in_turn(self._call, reader.lag)

    def _call(self) -> None:
        if self._next_tick.is_disposed:
            return
        request = self._reader.next_request()
        answer: Answer | Exception
        try:
            answer = self._answer(request)
        except Exception as error:  # noqa: BLE001 - handled in its turn, like an answer
            answer = error
        self._take(request, answer)

    def _take(self, request: Request, answer: Answer | Exception) -> None:
        with self._lock:
            if self._is_delivering:
                self._ahead = request, answer
                return
            self._is_delivering = True
        if not self._next_tick.is_disposed:
            self._handle(request, answer)
        with self._lock:
            self._is_delivering = False
            ahead, self._ahead = self._ahead, None
        if ahead is not None:
            # Not here: other shards have their turn in between.
            self._next_tick.disposable = self._reading.scheduler.schedule(lambda *_: self._take(*ahead))

    def _handle(self, request: Request, answer: Answer | Exception) -> None:
        reader, reading = self._reader, self._reading
        try:
            if isinstance(answer, Exception):
                raise answer
            outcome = reader.receive(answer, reading.client.answered_at)
        except TransientError as error:
            self._retry(error)
            return
        except Exception as error:  # noqa: BLE001 - a worker must not die of it in silence
            self._observer.on_error(error)
            return
        self._failures.forget()
        if not isinstance(answer, Iterator):
            self._refusals = 0
        if isinstance(answer, Iterator) and not self._opened:
            self._opened = True
            reading.events.emit(ShardOpened(reader.shard, self._position))
        is_ahead = False
        if isinstance(outcome, Page):
            with reading.in_hand() as is_only_page:
                # While others wait to be delivered, their workers have fetched ahead enough.
                is_ahead = is_only_page and not reader.ended
                if is_ahead:
                    self._schedule(0.0)
                self._deliver(outcome)
        elif isinstance(outcome, Gap):
            loss = reading.report(outcome)
            if loss is not None:
                self._observer.on_error(loss)
                return
        elif reader.quiet_until is not None:
            reading.progress.caught_up(reader.shard.id, reader.quiet_until)
        if self._next_tick.is_disposed:
            return
        if self._last_change is None:
            self._unread_at = reader.last_answer
        if reader.ended:
            self._end()
        elif not is_ahead:
            self._schedule(self._delay_after(request, answer))

    def _deliver(self, page: Page) -> None:
        self._last_change = last = page.changes[-1]
        self._observer.on_next(page)
        if self._frontier is not None and self._frontier.done is not last:
            return  # stopped in the middle: no window may close without the rest, and be kept as emitted
        if self._reading.writer is not None:
            self._reading.writer.delivered(len(page.changes))
        self._reading.progress.read(
            page.shard_id, last.created_at if last.has_time else None, self._reader.lag
        )

    def _answer(self, request: Request) -> Answer:
        client, shard_id = self._reading.client, self._reader.shard.id
        try:
            match request:
                case GetIterator(position):
                    return client.get_iterator(shard_id, position)
                case GetRecords(iterator):
                    return self._get_records(iterator)
                case LookUp(after):
                    return self._look_up(shard_id, after)
        except IteratorExpired:
            return Fault.EXPIRED
        except IteratorTrimmed:
            return Fault.TRIMMED
        except ShardNotFound:
            return Fault.NOT_FOUND
        except (RequestFailed, ServiceUnavailable, MalformedAnswer) as error:
            # A service that does not know AT_TIMESTAMP may say so in any words, even as a 500; moto does
            # when the iterator is used.
            if not self._reader.may_be_refused or isinstance(request, LookUp):
                raise
            self._refusals += 1
            if isinstance(error, TransientError) and self._refusals < REFUSALS_BELIEVED:
                raise
            return Fault.REFUSED

    def _get_records(self, iterator: str) -> Records:
        counts = self._reading.progress.counts
        counts.called()
        answer = self._reading.client.get_records(self._reader.shard.id, iterator)
        counts.answered(answer.records or ())
        return answer

    def _look_up(self, shard_id: str, after: str | None) -> Listed:
        page = self._reading.client.list_shards(after=after)
        found = next((shard for shard in page.shards if shard.id == shard_id), None)
        return Listed(found, page.next_shard_id)

    def _delay_after(self, request: Request, answer: Answer) -> float:
        reading, reader = self._reading, self._reader
        if isinstance(answer, Iterator) and request != GetIterator(Latest()):
            return 0.0  # one that waits may expire
        if isinstance(request, LookUp) and isinstance(reader.next_request(), LookUp):
            return LOOK_UP_INTERVAL
        if reader.doubts:
            return pacing.backoff(reader.doubts, reading.jitter(), ceiling=DOUBT_CEILING)
        if isinstance(answer, Iterator):
            wait = reading.poll.fastest  # behind "latest" there is nothing yet
        elif isinstance(request, GetRecords):
            wait = reading.poll.after_empty_pages(reader.idle_pages)
        else:
            wait = 0.0
        if wait and self._last_change is None:
            # Thousands may be opened at once, most of them idle: none is in a hurry before its first page.
            wait = max(wait, min(reading.poll.slowest, reading.progress.shards / CALLS_BEFORE_FIRST_PAGE))
        return wait

    def _retry(self, error: TransientError) -> None:
        reading = self._reading
        self._reader.call_failed()
        delay = self._failures.delay_after(error, reading.scheduler.now.timestamp())
        if delay is None:
            self._observer.on_error(error)
            return
        reading.progress.counts.retried()
        self._failures.report(reading.events, self._reader.shard.id, error, delay)
        self._schedule(delay)

    def _end(self) -> None:
        shard = self._reader.shard
        try:
            self._observer.on_completed()
        except BaseException as error:  # noqa: BLE001 - the observer of this shard can be told no more
            self._reading.fail(error)
            return
        # A delivery that was stopped in the middle of the last page has not read the shard to its end.
        frontier, last = self._frontier, self._last_change
        if (
            frontier is not None
            and not self._reader.stopped_short
            and (last is None or frontier.done is last)
        ):
            frontier.end()
        self._reading.events.emit(ShardClosed(shard))
        self._reading.ended(shard, self._reader.stopped_short)
