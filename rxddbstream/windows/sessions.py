"""The state of session windows: changes of one key with less than `gap` between them.

    gap 10      0    7  12               40   48            |
                [  session  :    22)     [  session  : 58)

    max 15      0    7  12   17  24              a session would go on from 0 to 34
                [ session  15)
                             [ session 32)       it is cut: the next one begins with the first change after

A session is cut at its first change plus `max`. The change that came first may arrive last, and would then
move all the cuts after it. So what is folded must be in order of time, and cannot be taken back: changes
wait in that order until the watermark, less the lateness, has passed them. Then nothing older is to come,
and they are folded into the session that they belong to, one after the other. It follows:

* What comes out does not depend on the order of arrival, and folds need no merging of two halves, so any
  function will do. Nor does it keep more than an accumulator for a session, and the changes of the last
  seconds.
* A change that comes even later joins a session that is still open where it belongs, and is folded last.
  It is late if there is none, and one of its own would have closed, too. It is also late if it lies before
  a session that, begun that early, would have been cut before what it has folded.

After a restart, changes of sessions that were emitted are read again, and may belong to a session that was
not. That is not known before all of them are there, which is when the watermark has passed where it was. So
nothing closes until then; and what had closed by then was emitted, and is dropped. Of a session that was cut,
a part may be read again and be cut elsewhere: this alone is not the same after a restart.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import defaultdict
from collections.abc import Hashable
from itertools import count
from typing import Generic, NamedTuple, TypeVar

from rxddbstream.model.times import END_OF_TIME, microseconds, utc
from rxddbstream.windows.base import NOTHING, TAKEN, Closed, Took, WindowResult, Windows
from rxddbstream.windows.folds import Fold

K = TypeVar("K")
T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")


class _Hold(Generic[T]):
    """A change that is held for those that follow it in its reading, as long as one of them is kept.

    Attributes:
        first, last: the times between which they lie.
        reading: whose change it is.
        times: how many are kept, itself included.
    """

    __slots__ = ("first", "item", "last", "reading", "times")

    def __init__(self, item: T, time: int, reading: Hashable) -> None:
        self.item = item
        self.reading = reading
        self.first = self.last = time
        self.times = 0


class _Waiting(NamedTuple, Generic[T]):
    """A change that is not folded yet; they sort by time, then by arrival, which no two share."""

    time: int
    arrival: int
    item: T
    hold: _Hold[T]


class _Session(Generic[T, A]):
    __slots__ = ("accumulator", "arrival", "end", "first", "holds", "last")

    def __init__(self, begin: _Waiting[T], accumulator: A) -> None:
        self.first = self.last = self.end = begin.time
        self.arrival = begin.arrival
        self.accumulator = accumulator
        self.holds: defaultdict[_Hold[T], int] = defaultdict(int)


class _Key(Generic[T, A]):
    """What is kept for one key.

    Attributes:
        waiting: what is not folded yet, in order of time.
        session: what older ones were folded into.
        holds: the newest one of each reading, as long as it is held.
        due: when to look whether a session has ended.
    """

    __slots__ = ("due", "holds", "session", "waiting")

    def __init__(self) -> None:
        self.waiting: list[_Waiting[T]] = []
        self.session: _Session[T, A] | None = None
        self.holds: dict[Hashable, _Hold[T]] = {}
        self.due = END_OF_TIME


class SessionWindows(Windows[K, T, R], Generic[K, T, A, R]):
    """The open sessions of one operator; sizes are in microseconds.

    Args:
        gap: how long no change must come for a session to end.
        longest: how long a session is at most.
        lateness: how long a session stays open after its end.
    """

    __slots__ = (
        "_arrivals",
        "_due",
        "_fold",
        "_gap",
        "_keys",
        "_lateness",
        "_longest",
        "_now",
        "_resumed",
        "_settled",
        "_ticks",
    )

    def __init__(self, fold: Fold[T, A, R], *, gap: int, longest: int | None, lateness: int) -> None:
        self._fold = fold
        self._gap = gap
        self._longest = END_OF_TIME if longest is None else longest
        self._lateness = lateness
        self._now = self._resumed = self._settled = -END_OF_TIME
        self._keys: dict[K, _Key[T, A]] = {}
        self._due: list[tuple[int, int, K]] = []  # when a key is to be looked at, as a heap
        self._ticks = count()  # so that no two keys are compared
        self._arrivals = 0

    def add(self, key: K, time: float, item: T, reading: Hashable) -> Took:
        """Put a change into its session."""
        self._arrivals += 1
        at = microseconds(time)
        kept = self._keys.get(key)
        if at < self._settled and (missed := self._miss(kept, at)):
            return missed
        if kept is None:
            kept = self._keys[key] = _Key()
        hold, took = self._hold(kept, at, item, reading)
        change = _Waiting(at, self._arrivals, item, hold)
        session = kept.session
        if at < self._settled and session is not None and at < session.end:
            self._take(session, change)
            self._look_at(key, kept)
            return took
        waiting = kept.waiting
        if not waiting or change > waiting[-1]:
            waiting.append(change)
        else:
            insort(waiting, change)
        if waiting[0] is change:
            self._look_at(key, kept)
        # Only when half of them can be folded, so that each is moved a few times at most.
        if waiting[len(waiting) // 2].time < self._settled:
            self._settle(kept)
        return took

    def advance(self, watermark: float) -> Closed[K, T, R]:
        """Close what the watermark has passed."""
        now = microseconds(watermark)
        if now > max(self._now, self._resumed):
            self._now, self._settled = now, now - self._lateness
        due = self._due
        if not due or due[0][0] > self._now:
            return NOTHING
        closed: list[tuple[int, _Session[T, A], K]] = []
        while due and due[0][0] <= self._now:
            at, _, key = heapq.heappop(due)
            kept = self._keys.get(key)
            if kept is None or kept.due != at:
                continue  # it was to be looked at earlier, and has been
            closed += [(session.end, session, key) for session in self._closed_of(kept)]
            if kept.waiting or kept.session is not None:
                kept.due = END_OF_TIME
                self._look_at(key, kept)
            else:
                del self._keys[key]
        closed.sort(key=lambda each: (each[0], each[1].first, each[1].arrival))
        results = [
            WindowResult(key, utc(session.first), utc(end), self._fold.result(session.accumulator))
            for end, session, key in closed
            if end + self._lateness > self._resumed
        ]
        release: list[T] = []
        for _, session, key in closed:
            kept = self._keys.get(key)
            for hold, times in session.holds.items():
                hold.times -= times
                if not hold.times:
                    release.append(hold.item)
                    if kept is not None and kept.holds.get(hold.reading) is hold:
                        del kept.holds[hold.reading]
        return Closed(results, release)

    def held(self) -> list[T]:
        """The changes that are held for sessions that are open."""
        holds: dict[int, _Hold[T]] = {}
        for kept in self._keys.values():
            holds |= {id(change.hold): change.hold for change in kept.waiting}
            if kept.session is not None:
                holds |= {id(hold): hold for hold in kept.session.holds}
        return [hold.item for hold in holds.values()]

    def resumed_at(self, watermark: float) -> None:
        """Go on after a restart: what closed at this watermark was emitted by an earlier run."""
        self._resumed = microseconds(watermark)

    def _miss(self, kept: _Key[T, A] | None, at: int) -> Took:
        """Whether a change behind the watermark is late, or has a session all the same."""
        session = None
        if kept is not None:
            self._settle(kept)  # what it could join is all as old
            session = kept.session
        own_due = at + min(self._gap, self._longest) + self._lateness
        if session is not None and at < session.end:
            joins = session.first < at + self._gap and session.last < at + self._longest
        else:
            joins = own_due > self._now
        if joins:
            return TAKEN
        return Took.REPLAYED if own_due <= self._resumed else Took.LATE

    def _hold(self, kept: _Key[T, A], at: int, item: T, reading: Hashable) -> tuple[_Hold[T], Took]:
        """What is held for a change: itself, unless one before it in its reading and session is."""
        hold = kept.holds.get(reading)
        took = TAKEN
        if (
            hold is None
            or not hold.first - self._gap < at < hold.last + self._gap
            or not hold.last - self._longest < at < hold.first + self._longest
        ):
            hold = kept.holds[reading] = _Hold(item, at, reading)
            took = Took.HOLD
        if at > hold.last:
            hold.last = at
        elif at < hold.first:
            hold.first = at
        hold.times += 1
        return hold, took

    def _take(self, session: _Session[T, A], change: _Waiting[T]) -> None:
        session.accumulator = self._fold.step(session.accumulator, change.item)
        time = change.time
        if time > session.last:
            session.last = time
        elif time < session.first:
            session.first = time
        if change.arrival < session.arrival:
            session.arrival = change.arrival
        session.end = min(session.last + self._gap, session.first + self._longest)
        session.holds[change.hold] += 1

    def _settle(self, kept: _Key[T, A]) -> None:
        """Fold the changes that no older one can precede, up to the end of the session."""
        waiting, session = kept.waiting, kept.session
        done = 0
        for change in waiting:
            if change.time >= self._settled:
                break
            if session is None:
                session = kept.session = _Session(change, self._fold.seed())
            elif change.time >= session.end:
                break
            self._take(session, change)
            done += 1
        del waiting[:done]

    def _closed_of(self, kept: _Key[T, A]) -> list[_Session[T, A]]:
        closed = []
        self._settle(kept)
        while (session := kept.session) is not None and session.end + self._lateness <= self._now:
            closed.append(session)
            kept.session = None
            self._settle(kept)
        return closed

    def _look_at(self, key: K, kept: _Key[T, A]) -> None:
        """Look at the key when its first session may close; it may turn out to go on by then."""
        session = kept.session
        end = session.end if session else kept.waiting[0].time + min(self._gap, self._longest)
        if end + self._lateness < kept.due:
            kept.due = end + self._lateness
            heapq.heappush(self._due, (kept.due, next(self._ticks), key))
