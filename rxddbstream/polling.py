"""One shard as an Observable of pages: drives a `ShardReader` on a scheduler.

Each tick makes one call and schedules the next tick. The call alone is retried; what the observer
does with a page is none of a retry's business.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from reactivex import Observable, abc
from reactivex.disposable import MultipleAssignmentDisposable

from rxddbstream.client import StreamClient
from rxddbstream.core import model, pacing
from rxddbstream.core.frontier import Frontier
from rxddbstream.core.lineage import Ready
from rxddbstream.core.messages import (
    Answer,
    Fault,
    GetIterator,
    GetRecords,
    Iterator,
    Listed,
    LookUp,
    Request,
)
from rxddbstream.core.model import Gap, Page, Shard, ShardClosed, ShardOpened
from rxddbstream.core.position import AtTime, Latest, Position
from rxddbstream.core.reader import ShardReader
from rxddbstream.errors import (
    DataTrimmed,
    IteratorExpired,
    IteratorTrimmed,
    RequestFailed,
    ServiceUnavailable,
    ShardNotFound,
    Throttled,
    TransientError,
)
from rxddbstream.events import EventSink
from rxddbstream.keeping import Keeper

OnGap = Literal["raise", "skip"]

DOUBT_CEILING = 5.0  # seconds between two doubtful answers, of which some take many to be believed

log = logging.getLogger("rxddbstream")


@dataclass(slots=True)
class Reading:
    """What the shards of one subscription share.

    Attributes:
        client: the stream.
        scheduler: where polls run.
        poll: how often.
        bounded: whether to end at `listed_at`.
        listed_at: the service's time of the first listing.
        began: the same, of the consumer's first run.
        on_gap: what to do when changes were lost.
        events: who is told.
        ended: to be called when a shard was read to its end and all of it was delivered.
        jitter: random numbers in [0, 1).
        keeper: the checkpoints, if any are kept.
    """

    client: StreamClient
    scheduler: abc.SchedulerBase
    poll: pacing.Poll
    bounded: bool
    listed_at: datetime
    began: datetime
    on_gap: OnGap
    events: EventSink
    ended: Callable[[Shard], None]
    jitter: Callable[[], float]
    keeper: Keeper | None = None
    _budget: pacing.CallBudget = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._budget = pacing.CallBudget(self.poll.calls_per_second)

    def wait_for_turn(self) -> float:
        """Take the next turn to call GetRecords; seconds until it comes."""
        if self.poll.calls_per_second is None:
            return 0.0
        with self._lock:
            return self._budget.wait(self.scheduler.now.timestamp())

    def report(self, gap: Gap) -> DataTrimmed | None:
        """Tell of a loss; the error to end with, None to go on."""
        self.events.emit(gap)
        message = f"shard {gap.shard_id} of {self.client.arn}: changes were lost: {gap.reason}"
        if self.on_gap == "skip":
            log.warning("%s", message)
            return None
        return DataTrimmed(
            f"{message}. Pass on_gap='skip' to go on with what is left; a consumer must not be away for "
            "longer than the 24 hours that the service keeps changes",
            gap.shard_id,
            gap.after,
        )

    def pages(self, start: Ready) -> Observable[Page]:
        """A shard's pages, from where it starts to its end.

        ::

            --page-----page-page-------------page-|   read to the end of the shard
            --page-----page-----#                     lost changes, a denied permission, ...
        """

        def subscribe(
            observer: abc.ObserverBase[Page], _: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            return _Poller(self, start, observer).start()

        return Observable(subscribe)


class _Poller:
    """One subscription to one shard."""

    def __init__(self, reading: Reading, start: Ready, observer: abc.ObserverBase[Page]) -> None:
        self._reading = reading
        self._position = start.position
        self._observer = observer
        self._next_tick = MultipleAssignmentDisposable()
        self._opened = False
        self._last_change: model.Change | None = None
        self._failures = Failures(reading.poll, reading.jitter)
        self._frontier: Frontier | None = None
        if reading.keeper is not None:
            self._frontier = reading.keeper.frontier(start.shard.id, self._first_position())
        self._reader = ShardReader(
            start.shard,
            start.position,
            listed_at=reading.listed_at,
            now=reading.client.answered_at,
            bounded=reading.bounded,
            began=reading.began,
            frontier=self._frontier,
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

    def _tick(self, scheduler: abc.SchedulerBase, state: Any = None) -> None:
        if isinstance(self._reader.next_request(), GetRecords):
            wait = self._reading.wait_for_turn()
            if wait > 0:
                self._next_tick.disposable = scheduler.schedule_relative(wait, self._call)
                return
        self._call()

    def _call(self, _: abc.SchedulerBase | None = None, state: Any = None) -> None:
        reader = self._reader
        request = reader.next_request()
        try:
            answer = self._answer(request)
            outcome = reader.receive(answer, self._reading.client.answered_at)
        except TransientError as error:
            self._retry(error)
            return
        except Exception as error:  # noqa: BLE001 - a worker must not die of it in silence
            self._observer.on_error(error)
            return
        self._failures.forget()
        if isinstance(answer, Iterator) and not self._opened:
            self._opened = True
            self._reading.events.emit(ShardOpened(reader.shard, self._position))
        if isinstance(outcome, Page):
            self._last_change = outcome.changes[-1]
            self._observer.on_next(outcome)
            if self._reading.keeper is not None:
                self._reading.keeper.delivered(len(outcome.changes))
        elif isinstance(outcome, Gap):
            loss = self._reading.report(outcome)
            if loss is not None:
                self._observer.on_error(loss)
                return
        if self._next_tick.is_disposed:
            return
        if reader.ended:
            self._end()
        else:
            self._schedule(self._delay_after(request))

    def _answer(self, request: Request) -> Answer:
        client, shard_id = self._reading.client, self._reader.shard.id
        try:
            match request:
                case GetIterator(position):
                    return client.get_iterator(shard_id, position)
                case GetRecords(iterator):
                    return client.get_records(shard_id, iterator)
                case LookUp():
                    return self._look_up(shard_id)
        except IteratorExpired:
            return Fault.EXPIRED
        except IteratorTrimmed:
            return Fault.TRIMMED
        except ShardNotFound:
            return Fault.NOT_FOUND
        except (RequestFailed, ServiceUnavailable):
            # A service that does not know AT_TIMESTAMP may say so in any words, even as a 500.
            if self._reader.may_be_refused and not isinstance(request, LookUp):
                return Fault.REFUSED
            raise

    def _look_up(self, shard_id: str) -> Listed:
        after: str | None = None
        while True:
            page = self._reading.client.list_shards(after=after)
            for shard in page.shards:
                if shard.id == shard_id:
                    return Listed(shard)
            after = page.next_shard_id
            if after is None:
                return Listed(None)

    def _delay_after(self, request: Request) -> float:
        if isinstance(request, GetIterator):
            return 0.0  # an iterator that waits may expire
        if self._reader.doubts:
            return pacing.backoff(self._reader.doubts, self._reading.jitter(), ceiling=DOUBT_CEILING)
        if isinstance(request, GetRecords):
            return self._reading.poll.after_empty_pages(self._reader.idle_pages)
        return 0.0

    def _retry(self, error: TransientError) -> None:
        reading = self._reading
        self._reader.call_failed()
        delay = self._failures.delay_after(error, reading.scheduler.now.timestamp())
        if delay is None:
            self._observer.on_error(error)
            return
        self._failures.report(reading.events, self._reader.shard.id, error, delay)
        self._schedule(delay)

    def _first_position(self) -> Position:
        # What "latest" meant must outlive a crash.
        return AtTime(self._reading.listed_at) if isinstance(self._position, Latest) else self._position

    def _end(self) -> None:
        shard = self._reader.shard
        self._observer.on_completed()
        # A delivery that was stopped in the middle of the last page has not read the shard to its end.
        frontier, last = self._frontier, self._last_change
        if (
            frontier is not None
            and not self._reader.stopped_short
            and (last is None or frontier.done is last)
        ):
            frontier.end()
        self._reading.events.emit(ShardClosed(shard))
        self._reading.ended(shard)


class Failures:
    """Failures of one call in a row."""

    def __init__(self, poll: pacing.Poll, jitter: Callable[[], float]) -> None:
        self._give_up_after = poll.give_up_after
        self._jitter = jitter
        self._count = 0
        self._since = 0.0

    def forget(self) -> None:
        """The call was answered."""
        self._count = 0

    def delay_after(self, error: TransientError, now: float) -> float | None:
        """Seconds to wait before the next try; None to give up."""
        if not self._count:
            self._since = now
        self._count += 1
        if self._give_up_after is not None and now - self._since >= self._give_up_after:
            return None
        return pacing.backoff(self._count, self._jitter())

    def report(self, events: EventSink, shard_id: str | None, error: TransientError, delay: float) -> None:
        """Tell of the last one."""
        log.warning("%s; attempt %d, the next in %.2f s", error, self._count, delay)
        kind = model.Throttled if isinstance(error, Throttled) else model.Retrying
        events.emit(kind(shard_id, error, self._count, delay))
