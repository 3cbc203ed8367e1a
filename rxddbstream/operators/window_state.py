"""One subscription to a window operator: the windows' state between the changes and the watermark."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Generic, TypeAlias, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxddbstream.checkpoints import holding
from rxddbstream.checkpoints.acknowledgement import Counted, delivering
from rxddbstream.errors import ConfigurationError
from rxddbstream.model.change import Change
from rxddbstream.model.origin import EventTime, Origin, WindowOperator
from rxddbstream.model.times import microseconds
from rxddbstream.operators.window_sources import Sources, counted_twice
from rxddbstream.scheduling.caller import CallerScheduler
from rxddbstream.scheduling.within import Within, plain
from rxddbstream.windows.base import Closed, Took, WindowResult, Windows

K = TypeVar("K")
R = TypeVar("R")
log = logging.getLogger("rxddbstream")


LateObserver: TypeAlias = abc.ObserverBase[Change] | Callable[[Change], object]
"""Whom `late=` takes: an observer, of which `on_next` alone is called, or a function."""


class _Emission:
    """Windows that closed at one watermark."""

    __slots__ = ("is_done", "release", "watermark")

    def __init__(self, watermark: float, release: Sequence[Change]) -> None:
        self.watermark = watermark
        self.release = list(release)
        self.is_done = False


class Windowing(Generic[K, R]):
    """One subscription to a window operator."""

    def __init__(
        self,
        make_windows: Callable[[], Windows[K, Change, R]],
        known: WindowOperator,
        key: Callable[[Change], K] | None,
        late: Callable[[Change], object] | None,
        observer: abc.ObserverBase[WindowResult[K, R]],
    ) -> None:
        self._make_windows = make_windows
        self._windows = make_windows()
        self._lateness = microseconds(known.lateness)
        self._key: Callable[[Change], Any] = key or (lambda change: None)
        self._tell_late = late
        self._has_warned = False
        self._observer = observer
        # Changes of one stream come one at a time, and so does its watermark; those of merged ones may not.
        self._lock = threading.RLock()
        self._post: Callable[[Callable[[], object]], object] = lambda action: action()
        self._newest: object = self  # the origin of the last change; at first, none that could be
        self._reading: Origin | None = None  # the same, as far as there is something to hold
        self._by_hand = False  # whether that one was made in a test: then each one is the newest
        self._sources = Sources(known, self._told, self._is_over)
        self._watermarks = self._sources.watermarks
        self._resumed = inf
        self._passed = -inf  # the watermark up to which windows have closed
        self._listening = self._sources.listening
        self._emitting: int | None = None  # on which thread
        self._ended_inside = False  # by the observer itself, in on_next
        self._emissions: deque[_Emission] = deque()  # that are not done, or behind one that is not
        # Apart from the other lock, with which somebody may wait for whoever has an emission in hand.
        self._settling = threading.Lock()

    def start(self, source: Observable[Change], scheduler: abc.SchedulerBase | None) -> abc.DisposableBase:
        caller = plain(scheduler)
        if isinstance(caller, CallerScheduler):
            self._post = caller.post
        subscription = source.subscribe(
            self._take,
            self._observer.on_error,
            self._complete,
            scheduler=Within(scheduler, self._sources.expect),
        )
        # The source comes last: what it tells while it is disposed of is not for us any more.
        return CompositeDisposable(Disposable(self._stop), self._listening, subscription)

    def _stop(self) -> None:
        self._ended_inside = self._emitting == threading.get_ident()

    def _take(self, change: Change) -> None:
        with self._lock:
            if self._sources.has_news:
                self._leave_out()
            origin = change.origin
            if origin is not self._newest and not self._meet(origin):
                return
            time = change.timestamp
            if origin is not None and time > origin.latest:
                time = origin.latest  # else its window would stay open for as long as the time lies ahead
            try:
                took = self._windows.add(self._key(change), time, change, self._reading)
                if took:
                    self._handle(took, change)
            except Exception as error:  # noqa: BLE001 - on a timer's thread, nobody hears what is raised
                self._observer.on_error(error)
                return
            if self._by_hand:
                self._advance(None, max(time, self._watermarks[None]))

    def _handle(self, took: Took, change: Change) -> None:
        if took is Took.HOLD:
            if not holding.hold(change):
                self._observer.on_error(holding.too_late(change))
        elif took is Took.LATE:
            if change.origin is not None and change.origin.event_time is not None:
                change.origin.event_time.was_late()
            if self._tell_late is not None:
                self._tell_late(change)
            elif not self._has_warned:
                self._has_warned = True
                log.warning(
                    "change %s of shard %s came after its windows had closed, and is in none. More may come: "
                    "late= gets them, lateness= waits for them, statistics().late counts them",
                    change.sequence_number,
                    change.shard_id,
                )

    def _meet(self, origin: Origin | None) -> bool:
        """A change is the first one of its shard, or the last one was another's; whether it is welcome."""
        self._newest = origin
        event_time = origin.event_time if origin is not None else None
        self._reading = origin if origin is not None and origin.is_kept else None
        self._by_hand = event_time is None
        if event_time is None:
            self._watermarks.setdefault(event_time, -inf)
            return True
        if self._reading is not None and not self._sources.is_fed_by(self._reading):
            if self._sources.drops_shards(self._windows.held):
                self._drop()  # the shard may be read again
            self._sources.fed_by(self._reading)
        return self._begin(event_time)

    def _begin(self, event_time: EventTime) -> bool:
        """A reading has come to its first change, or its first watermark; whether it is welcome."""
        if self._sources.has_begun(event_time):
            return True
        try:
            emitted = self._sources.begin(event_time)
            self._take_out(self._sources.read_before(event_time), event_time.kept_of)
        except ConfigurationError as error:
            self._newest = self
            self._observer.on_error(error)
            return False
        # Of several streams: what was emitted has passed the watermark of each.
        self._resumed = min(self._resumed, self._sources.resumed_at(emitted))
        self._windows.resumed_at(self._resumed)
        return True

    def _take_out(self, before: set[EventTime], stream: str | None) -> None:
        """What these readings of a stream have in open windows comes again.

        Raises:
            ConfigurationError: others have a share in them.
        """
        if before and not before.isdisjoint(shares := self._shares()):
            if not shares <= before:
                raise counted_twice(stream)
            self._drop()

    def _shares(self) -> set[EventTime | None]:
        """Whose changes are in open windows: each of them has one that is held there."""
        held = self._windows.held()
        return {change.origin.event_time if change.origin is not None else None for change in held}

    def _drop(self) -> None:
        """As after a restart: all that is in open windows is read again."""
        self._windows, self._resumed = self._make_windows(), inf
        if self._sources.any_begun:
            self._resumed = self._passed
            self._windows.resumed_at(self._resumed)

    def _is_over(self) -> None:
        """A reading has ended, while others may go on, or begin."""
        # Whoever has the lock may be waiting for this thread. Then the next change, or watermark, does it.
        if self._lock.acquire(blocking=False):
            try:
                self._leave_out()
            finally:
                self._lock.release()

    def _leave_out(self) -> None:
        """Wait no more for the watermarks of readings that have ended."""
        if self._emitting is not None or not self._sources.has_news:
            return
        self._sources.take_out()
        if self._sources.drops(self._shares()):
            self._drop()
        self._newest = self  # the others' next watermark closes: they may be about to end, too

    def _told(self, event_time: EventTime, value: float) -> None:
        self._post(partial(self._advance, event_time, value))

    def _advance(self, event_time: EventTime | None, value: float) -> None:
        with self._lock:
            self._sources.take_in()
            self._leave_out()
            if event_time in self._watermarks and (event_time is None or self._begin(event_time)):
                self._watermarks[event_time] = value
                self._close()

    def _close(self) -> None:
        """Close what the slowest watermark has passed."""
        if not self._watermarks:
            return
        watermark = min(self._watermarks.values())
        try:
            closed = self._windows.advance(watermark)
            if closed.results:
                if self._sources.drops_shards(lambda: [*closed.release, *self._windows.held()]):
                    self._drop()
                    return
                self._sources.check()
            self._passed = max(self._passed, watermark)
            self._emit(closed, watermark)
        except BaseException as error:  # noqa: BLE001 - whoever tells the watermark has no use for it
            self._observer.on_error(error)  # type: ignore[arg-type]

    def _emit(self, closed: Closed[K, Change, R], watermark: float) -> bool:
        """Emit the windows; whether all of them were wanted."""
        if not closed.results and not closed.release:
            return True
        emission = _Emission(watermark, closed.release)
        self._emissions.append(emission)
        delivery = Counted(partial(self._emitted, emission))
        before, self._emitting = self._emitting, threading.get_ident()
        try:
            with delivering(delivery):
                for result in closed.results:
                    self._observer.on_next(result)
                    if self._listening.is_disposed:
                        break
        finally:
            self._emitting = before
        wanted = not self._listening.is_disposed
        if not wanted:
            if not self._ended_inside or watermark == inf:
                return False
            # The observer wanted no more, and all of its `dispose` has returned. If it took the stream with
            # it, the checkpoints are closed by now; if others share the stream, we must not hold them up.
            # From another thread `dispose` may not have come that far, and nothing is released.
            emission.release += self._windows.held()
        delivery.settle()
        return wanted

    def _emitted(self, emission: _Emission) -> None:
        """An emission is done, on the thread of whoever was through with it last."""
        with self._settling:
            emission.is_done = True
            # In order, though a later one may be done first: what is kept is one watermark.
            while self._emissions and self._emissions[0].is_done:
                self._settle(self._emissions.popleft())

    def _settle(self, emission: _Emission) -> None:
        # In this order: a crash in between must not have the windows emitted again, or not at all.
        # What is kept is an end, not the watermark: with another lateness, that would mean other windows.
        if emission.watermark < inf:
            self._sources.emitted((microseconds(emission.watermark) - self._lateness) / 1e6)
        holding.release(emission.release)

    def _complete(self) -> None:
        with self._lock:
            self._leave_out()
            if self._sources.is_cut_short(self._windows.held()):
                self._observer.on_completed()  # what is open is held, and comes whole in the next run
                return
            try:
                wanted = self._emit(self._windows.advance(inf), inf)
            except BaseException as error:  # noqa: BLE001 - the source has ended, and hears of nothing
                self._observer.on_error(error)  # type: ignore[arg-type]
                return
            if wanted:
                self._observer.on_completed()
