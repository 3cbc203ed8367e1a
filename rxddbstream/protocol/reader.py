"""One shard's reader, sans I/O: it says what to ask next, and is told the answer.

    state            answer                            next state
    ---------------  --------------------------------  ---------------------------------------------
    NEEDS_ITERATOR   Iterator                          READING
    READING          Records, more to come             READING
    READING          Records, no next iterator         ENDED
    READING          Records beyond a bounded read     ENDED
    READING          nothing at all                    READING, then DOUBTFUL
    READING          EXPIRED                           NEEDS_ITERATOR, after the last record
    either           TRIMMED                           NEEDS_ITERATOR, at TRIM_HORIZON; perhaps a Gap
    either           REFUSED, of a time                NEEDS_ITERATOR, at TRIM_HORIZON
    either           NOT_FOUND                         DOUBTFUL at first and at last, else NEEDS_ITERATOR
    DOUBTFUL         Listed, there are more pages      DOUBTFUL
    DOUBTFUL         Listed, of no account             where it was
    DOUBTFUL         Listed, all of it has been read   ENDED
    DOUBTFUL         Listed, denied often enough       ENDED; perhaps a Gap

The reader knows nothing of retries: after a call that failed in passing it asks for the same again.
The rules it keeps:

* A page without a next iterator may have records: they are delivered, then the shard has ended.
  https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html
* An iterator expires after 15 minutes. The next one begins after the last record read; where none was
  read from LATEST, at the time of the listing: LATEST again would skip what came since.
* Not every service knows AT_TIMESTAMP. TRIM_HORIZON, dropping what is older, gives the same records; it is
  asked for, too, when the time lies further back than the service keeps changes.

What counts as the tip is in `tip.py`, which doubtful answers are believed in `doubt.py`, what is a loss in
`loss.py`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, auto

from rxddbstream.model.change import Change, sound_time
from rxddbstream.model.events import Gap
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
from rxddbstream.model.page import Page
from rxddbstream.model.position import After, AtTime, Latest, Position, TrimHorizon
from rxddbstream.model.shard import Shard, outlived_retention
from rxddbstream.protocol.beginning import Beginning
from rxddbstream.protocol.bounds import Bounds, End
from rxddbstream.protocol.doubt import Doubt
from rxddbstream.protocol.loss import Losses
from rxddbstream.protocol.tip import Tip

SERVICE_TIME_RESOLUTION = timedelta(seconds=1)  # the Date header of HTTP has whole seconds


class State(Enum):
    """See the table at the head of this file."""

    NEEDS_ITERATOR = auto()
    READING = auto()
    DOUBTFUL = auto()
    ENDED = auto()


class ProtocolError(Exception):
    """The reader was told an answer to a question that it did not ask: a bug of its driver."""


class ShardReader:
    """Reads one shard from a position to its end.

    Args:
        shard: the shard; one that is closed is never waited for.
        position: where to begin.
        beginning: where the run begins.
        now: the service's time; by default that of the run's first listing.
        end: where a bounded read ends; None reads on.
        read_up_to: up to when nothing of the shard is left to read; by default, what the position says of it.
        origin: what the changes get; see `Change`.

    Attributes:
        stopped_short: whether a bounded read ended before the shard did.
        last_answer: the service's time of the last answer that brought or promised records; at first, until
            when nothing of the shard was lost.
        lag: how many seconds the last change was behind the service's time when it was read; 0.0 once the
            shard has nothing new. Before its tip was seen, how long ago that was up to which it is read.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    >>> reader = ShardReader(Shard("shard-1"), TrimHorizon(), Beginning(TrimHorizon(), noon, noon))
    >>> reader.next_request()
    GetIterator(position=TrimHorizon())
    """

    def __init__(
        self,
        shard: Shard,
        position: Position,
        beginning: Beginning,
        *,
        now: datetime | None = None,
        end: End | None = None,
        read_up_to: datetime | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.shard = shard
        self.state = State.NEEDS_ITERATOR
        self.stopped_short = False
        self._origin = origin or Origin()
        self._beginning = beginning
        self._end = end
        self._position = position
        self._bounds = Bounds(
            position if isinstance(position, AtTime) else None,
            beginning.listed_at + SERVICE_TIME_RESOLUTION if end is not None and end.until is None else None,
        )
        self._iterator = ""
        self._looked_up_to: str | None = None
        self._last_read = position.sequence_number if isinstance(position, After) else None
        self._now = now or beginning.listed_at
        self.last_answer = beginning.last_answer(shard.id, self._now)
        read_up_to = read_up_to or beginning.read_up_to(position)
        self.lag = beginning.lag(shard.id, read_up_to, self._now)
        self._tip = Tip(
            self._now if isinstance(position, Latest) else read_up_to,
            self._now,
            may_guess=not shard.is_closed,
        )
        self._doubt = Doubt(was_read=self._last_read is not None)
        self._losses = Losses(shard.id, beginning)

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to ask."""
        return self.state is State.ENDED

    @property
    def idle_steps(self) -> int:
        """How far the wait between two calls has grown; see `Tip.idle_steps`."""
        return self._tip.idle_steps(in_a_hurry=self.shard.is_closed or self._may_stop)

    @property
    def is_at_tip(self) -> bool:
        """Whether the reading was at the shard's tip, by the last answer."""
        return self._tip.is_seen

    @property
    def doubts(self) -> int:
        """Doubtful answers in a row, to wait longer after each."""
        return self._doubt.in_a_row

    @property
    def quiet_until(self) -> datetime | None:
        """Until when the shard is known to have had nothing new; None while it may just seem so.

        An answer that ends it says nothing of what came since it was closed: that is in its children.
        """
        return self.last_answer if self._tip.is_quiet and not self.ended else None

    @property
    def read_up_to(self) -> datetime | None:
        """Up to when nothing of the shard is left to read; None while that is not known."""
        return self._tip.read_up_to

    @property
    def may_be_refused(self) -> bool:
        """Whether the service may not know the kind of iterator in use."""
        return isinstance(self._position, AtTime)

    def next_request(self) -> Request:
        """What to ask the service now; the same until an answer was received."""
        match self.state:
            case State.NEEDS_ITERATOR:
                return GetIterator(self._asked_position)
            case State.READING:
                return GetRecords(self._iterator)
            case State.DOUBTFUL:
                return LookUp(self._looked_up_to)
            case State.ENDED:
                raise ProtocolError(f"shard {self.shard.id} has been read to its end")

    def call_failed(self) -> None:
        """There was no answer; what was asked for is asked for again, but for LATEST, which has moved on."""
        if self.state is State.NEEDS_ITERATOR:
            self._renew_iterator()

    def receive(self, answer: Answer, now: datetime | None = None) -> Page | Gap | None:
        """Take in the answer to `next_request()`.

        Args:
            answer: the answer.
            now: the service's time; by default that of the last answer which had one.

        Returns:
            The changes to deliver, or the loss to report, if any.

        Raises:
            ProtocolError: the state has no such answer.
        """
        self._now = now or self._now
        match self.state, answer:
            case State.NEEDS_ITERATOR, Iterator():
                return self._receive_iterator(answer)
            case State.READING, Records(records=None, next_iterator=None | ""):
                self._receive_nothing()
            case State.READING, Records():
                return self._receive_records(answer)
            case State.READING, Fault.EXPIRED:
                self._receive_expired()
            case ((State.NEEDS_ITERATOR | State.READING), Fault.REFUSED) if self.may_be_refused:
                self._receive_refused()
            case ((State.NEEDS_ITERATOR | State.READING), Fault.TRIMMED):
                return self._receive_trimmed()
            case ((State.NEEDS_ITERATOR | State.READING), Fault.NOT_FOUND):
                self._receive_denial()
            case State.DOUBTFUL, Listed():
                return self._receive_listed(answer)
            case _:
                kind = answer.name if isinstance(answer, Fault) else type(answer).__name__
                raise ProtocolError(f"{kind} in state {self.state.name} of shard {self.shard.id}")
        return None

    def _receive_iterator(self, answer: Iterator) -> Gap | None:
        silent_since = self.last_answer
        self._iterator = answer.value
        self._advance_time(answer.answered_at)
        self.state = State.READING
        return self._losses.silent(self._position, silent_since, self._last_read, self._now)

    def _receive_nothing(self) -> None:
        self._doubt.cut()
        if self._doubt.is_cut_again:
            self.state = State.DOUBTFUL

    def _receive_expired(self) -> None:
        self._tip.iterator_expired()
        self._doubt.expired()
        self._renew_iterator()

    def _receive_refused(self) -> None:
        self._position = TrimHorizon()
        self.state = State.NEEDS_ITERATOR

    def _receive_trimmed(self) -> Gap | None:
        self._doubt.trimmed()
        self._position = TrimHorizon()
        self.last_answer = self._now  # what was lost until now is told here
        self.state = State.NEEDS_ITERATOR
        return self._losses.trimmed(self._last_read, self._tip.read_up_to, self._now)

    def _receive_denial(self) -> None:
        self._doubt.denied(self._now)
        if self._doubt.is_worth_a_look(self._now):
            self.state = State.DOUBTFUL
        else:
            self._renew_iterator()

    def _receive_records(self, answer: Records) -> Page | None:
        self._doubt.answered()
        self._losses.answered()
        self._advance_time(answer.answered_at)
        if answer.next_iterator:
            self._iterator = answer.next_iterator
        else:
            self.state = State.ENDED
        if not answer.records:
            self._receive_empty_page(answer.answered_at)
            if self._tip.is_end and self._may_stop and not self.shard.is_closed:
                self._stop_short()
            return None
        shard_id, origin = self.shard.id, self._origin
        origin.latest = (answer.answered_at + SERVICE_TIME_RESOLUTION).timestamp()
        changes = [Change(record, shard_id, origin) for record in answer.records]
        first, last = sound_time(changes), sound_time(reversed(changes))
        self._tip.records(first, last, answer.answered_at)
        self.lag = 0.0 if last is None else (answer.answered_at - last).total_seconds()
        self._last_read = changes[-1].sequence_number
        self._position = After(self._last_read)
        changes, is_beyond = self._bounds.cut(changes)
        if is_beyond:
            self._stop_short()
        return Page(shard_id, changes, origin) if changes else None

    def _receive_empty_page(self, answered_at: datetime) -> None:
        self._tip.empty_page(answered_at)
        if self._tip.is_quiet:
            self.lag = 0.0
        elif not self._tip.is_seen:
            self.lag = self._beginning.lag(self.shard.id, self._tip.read_up_to, answered_at)

    def _receive_listed(self, listed: Listed) -> Gap | None:
        self._looked_up_to = listed.after if listed.shard is None else None
        if self._looked_up_to is not None:
            return None
        shard = listed.shard or self.shard
        if shard.is_closed and self._has_read_all_of(shard):
            self.state = State.ENDED
            return None
        is_listed_open = listed.shard is not None and not listed.shard.is_closed
        if self._doubt.is_gone(self._now, is_listed_open=is_listed_open):
            self.state = State.ENDED
            return self._losses.gone(self._last_read, self._now)
        if self._doubt.is_end_believed and shard.is_closed:
            self.state = State.ENDED
            return None
        if self._doubt.is_denied:
            self._renew_iterator()
        else:
            self.state = State.READING
        return None

    @property
    def _asked_position(self) -> Position:
        is_old = isinstance(self._position, AtTime) and outlived_retention(self._position.time, self._now)
        return TrimHorizon() if is_old else self._position

    def _renew_iterator(self) -> None:
        if isinstance(self._position, Latest):
            self._position = self._bounds.not_before = self._beginning.latest
        self.state = State.NEEDS_ITERATOR

    @property
    def _may_stop(self) -> bool:
        """Whether the tip is the end: there is one, and its time has come."""
        end = self._end
        return end is not None and (end.until is None or self.last_answer >= end.until)

    def _stop_short(self) -> None:
        self.stopped_short = True
        self.state = State.ENDED

    def _has_read_all_of(self, shard: Shard) -> bool:
        end = shard.ending_sequence_number
        return end is not None and self._last_read is not None and int(self._last_read) >= int(end)

    def _advance_time(self, answered_at: datetime) -> None:
        self.last_answer = self._now = answered_at
