"""A stream as an Observable of its shards: lists them, and emits each one when it may be read.

The work is one process, written as a generator that yields how long it waits, and stepped on a scheduler.
It runs apart from the polls, which a slow subscriber can hold up.

    connect -> list -> emit what is ready -> wait -> ask for what is missing -> emit what is ready -> ...

What is missing are children of shards that have ended, and parents that hold back a child. They are
asked for with backoff until they show up. A slow full listing is the safety net.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from functools import partial

from reactivex import abc
from reactivex.disposable import Disposable

from rxddbstream.aws.client import StreamClient
from rxddbstream.checkpoints.store import CheckpointStore
from rxddbstream.checkpoints.writer import Writer
from rxddbstream.errors import IteratorTrimmed, ShardNotFound, StreamDisabled, StreamError, StreamNotFound
from rxddbstream.model.position import Start, TrimHorizon, resolve
from rxddbstream.model.shard import Shard
from rxddbstream.protocol import pacing
from rxddbstream.protocol.beginning import Beginning, Kept
from rxddbstream.protocol.bounds import End
from rxddbstream.protocol.lineage import Lineage, Ready
from rxddbstream.reading.calls import Asking
from rxddbstream.reading.delivery import ShardStream
from rxddbstream.reading.events import EventObserver, EventSink
from rxddbstream.reading.polling import pages
from rxddbstream.reading.progress import Progress
from rxddbstream.reading.subscription import OnGap, Reading
from rxddbstream.scheduling.coroutine import Stepper, Wait

FULL_LISTING_INTERVAL = 60.0
ASK_AGAIN_BASE = 0.25
ASK_AGAIN_CEILING = 10.0
FILTERED_AT_MOST = 3  # children of more shards than this are found by one listing
SHORTEST_WAIT = 0.001  # a virtual clock does not move for less than a microsecond
PATIENCE = 6  # times that the last children are asked for, before there are none
PATIENCE_DISABLED = 4  # the same of a disabled stream, whose last shards have none

log = logging.getLogger("rxddbstream")


class Discovery:
    """One subscription's discovery.

    Args:
        connect: makes the client; may fail, and is tried again where that may help.
        until: with `follow=False`, the service's time to end at; by default, that of subscribing.
        scheduler: where the discovery runs.
        polls: where the shards are polled.
        progress: is told how far the reading has come.
        observer: gets the shards.
    """

    def __init__(
        self,
        connect: Callable[[], StreamClient],
        *,
        start: Start,
        follow: bool,
        until: datetime | None,
        poll: pacing.Poll,
        checkpoints: CheckpointStore | None,
        on_gap: OnGap,
        events: EventObserver | None,
        progress: Progress,
        scheduler: abc.SchedulerBase,
        polls: abc.SchedulerBase,
        observer: abc.ObserverBase[ShardStream],
    ) -> None:
        self._connect = connect
        self._start = start
        self._follow = follow
        self._until = until
        self._poll = poll
        self._checkpoints = checkpoints
        self._writer: Writer | None = None
        self._on_gap: OnGap = on_gap
        self._progress = progress
        self._scheduler = scheduler
        self._polls = polls
        self._observer = observer
        self._events = EventSink(events, observer.on_error)
        self._ask = Asking(poll, self._events, progress.counts, scheduler)
        self._disposed = False
        self._lock = threading.Lock()  # guards the lineage; never held while calling out
        self._lineage: Lineage
        self._process = Stepper(self._discover(), scheduler, observer.on_completed, observer.on_error)

    def run(self) -> abc.DisposableBase:
        """Make the first step at once, so that "latest" means the moment of subscribing."""
        self._subscribed, self._subscribed_at = self._ask.now(), self._scheduler.now
        self._process.start()
        return Disposable(self._dispose)

    def _dispose(self) -> None:
        self._disposed = True
        self._process.dispose()
        self._close_writer()

    def _close_writer(self) -> None:
        if self._writer is not None:
            try:
                self._writer.close()
            except StreamError as error:
                log.error("%s", error)

    def _shard_ended(self, shard: Shard, short: bool) -> None:
        with self._lock:
            self._lineage.end(shard.id, short=short)
        self._progress.ended(shard.id, not short)
        self._process.wake()

    def _discover(self) -> Generator[Wait, None, None]:
        try:
            yield from self._begin()
            yield from self._watch()
            if self._writer is not None:
                # on_completed may release more; disposing closes it, after that.
                yield from self._ask.until_answered(self._writer.flush)
        except (GeneratorExit, KeyboardInterrupt, SystemExit):
            # Whoever disposed in the middle of a step may have found none; who interrupts cannot dispose.
            self._close_writer()
            raise

    def _begin(self) -> Generator[Wait, None, None]:
        yield from self._ask.connect(self._connect)
        asked = resolve(self._start, self._subscribed_at)
        kept = yield from self._load_checkpoints()
        shards, listed_at, listed = yield from self._ask.list_all()
        beginning = Beginning.of(asked, kept, shards, listed_at)
        if not self._process.in_first_step:
            beginning = beginning.answered_late(timedelta(seconds=listed - self._subscribed))
        self._reading = Reading(
            client=self._ask.client,
            scheduler=self._polls,
            poll=self._poll,
            beginning=beginning,
            end=None if self._follow else End(self._until),
            on_gap=self._on_gap,
            events=self._events,
            ended=self._shard_ended,
            fail=self._observer.on_error,
            jitter=random.random,
            progress=self._progress,
            writer=self._writer,
        )
        self._lineage = Lineage(beginning.start, began=beginning.began, kept=kept.shards)
        self._lineage.observe(shards)
        ready = self._lineage.take_ready()
        if self._writer is not None:
            first = beginning.to_keep(shards, {shard.id: where for shard, where in ready})
            yield from self._ask.until_answered(partial(self._writer.begin, first))
        if not self._process.in_first_step:
            ready = [Ready(shard, beginning.fixed(where)) for shard, where in ready]
        self._emit(ready)
        yield from self._confirm_parents()

    def _load_checkpoints(self) -> Generator[Wait, None, Kept]:
        if self._checkpoints is None:
            return Kept()
        writer = Writer(
            self._checkpoints,
            self._ask.client.arn,
            alive=lambda: self._ask.client.answered_at,
            emitted=lambda: self._progress.emitted,
            scheduler=self._scheduler,
            emit=self._events.emit,
            on_failure=self._observer.on_error,
        )
        kept = yield from self._ask.until_answered(writer.load)
        self._progress.resume(kept.windows)
        self._writer = writer
        if self._disposed:  # meanwhile, when there was none to close
            self._close_writer()
        return kept

    def _watch(self) -> Generator[Wait, None, None]:
        next_listing = self._ask.now() + FULL_LISTING_INTERVAL
        last_asked, times_asked = self._ask.now(), 0
        known_missing: set[str] = set()
        filtering = True
        while True:
            self._emit_ready()
            with self._lock:
                childless = self._lineage.childless()
                unlisted = self._lineage.unlisted()
                nothing_known = self._lineage.is_empty
            missing = {*childless, *unlisted}
            if missing - known_missing:
                times_asked = 0
            known_missing = missing
            if self._is_over(times_asked):
                return
            due = next_listing
            if missing or nothing_known:
                due = min(due, last_asked + _ask_again_after(times_asked))
            wait = due - self._ask.now()
            if wait > SHORTEST_WAIT:
                yield Wait(wait, until_woken=True)
                continue
            last_asked, times_asked = self._ask.now(), times_asked + 1
            if self._until is not None and self._ask.client.answered_at < self._until:
                times_asked = min(times_asked, PATIENCE - 1)  # what is to come has time until then
            few = 0 < len(childless) <= FILTERED_AT_MOST and not unlisted
            if filtering and few and due < next_listing:
                filtering = yield from self._list_children(childless)
                continue
            yield from self._list_again()
            next_listing = self._ask.now() + FULL_LISTING_INTERVAL

    def _is_over(self, times_asked: int) -> bool:
        """Whether nothing is being read, and nothing will come.

        Raises:
            StreamDisabled: because the stream was switched off.
        """
        if self._follow and self._ask.enabled:
            return False
        with self._lock:
            idle, childless = self._lineage.is_idle, self._lineage.childless()
        # The last children may be listed late.
        patience = PATIENCE if self._ask.enabled else PATIENCE_DISABLED
        if not idle or (childless and times_asked < patience):
            return False
        if self._follow:
            raise StreamDisabled(
                f"stream {self._ask.client.arn} was disabled, and has been read to its end; nothing will "
                "follow. Enable a stream on the table, and subscribe to that one"
            )
        return True

    def _emit_ready(self) -> None:
        with self._lock:
            ready = self._lineage.take_ready()
        self._emit(ready)

    def _emit(self, ready: list[Ready]) -> None:
        self._progress.opened(ready, self._reading.beginning, self._lineage.predecessor)
        for start in ready:
            found = pages(self._reading, start)
            self._observer.on_next(
                ShardStream(start.shard, start.position, found, self._ask.client, self._observer.on_error)
            )

    def _list_again(self) -> Generator[Wait, None, set[str]]:
        """List all shards; their IDs."""
        shards, listed_at, _ = yield from self._ask.list_all()
        listed = {shard.id for shard in shards}
        with self._lock:
            self._lineage.observe(shards)
            forgotten = self._lineage.forget_all_but(listed, listed_at)
        if self._writer is not None:
            yield from self._ask.until_answered(partial(self._writer.forget, forgotten))
        self._emit_ready()
        yield from self._confirm_parents()
        return listed

    def _list_children(self, childless: list[str]) -> Generator[Wait, None, bool]:
        """Ask for the children of these shards; whether the service knows how to."""
        for shard_id in childless:
            try:
                children = yield from self._ask.list_children(shard_id)
            except StreamNotFound:
                # That may mean the shard. If the stream is gone, the listing says so.
                listed = yield from self._list_again()
                if self._follow and shard_id not in listed:
                    with self._lock:
                        self._lineage.stop_asking_for_children(shard_id)
                continue
            if children is None:
                return False
            with self._lock:
                self._lineage.observe(children)
        return True

    def _confirm_parents(self) -> Generator[Wait, None, None]:
        """Ask for the shards that the listing lacks: it may be late, and they may be gone.

        Raises:
            DataTrimmed: they are, unread.
        """
        with self._lock:
            unlisted = self._lineage.unlisted()
        for shard_id in unlisted:
            ask = partial(self._ask.client.get_iterator, shard_id, TrimHorizon())
            try:
                yield from self._ask.until_answered(ask)
            except (ShardNotFound, IteratorTrimmed):
                with self._lock:
                    gap = self._lineage.confirm_gone(shard_id, self._ask.client.answered_at)
                loss = gap and self._reading.report(gap)
                if loss is not None:
                    raise loss from None
                if gap is not None and self._writer is not None:
                    yield from self._ask.until_answered(partial(self._writer.end, shard_id))
                self._emit_ready()


def _ask_again_after(times_asked: int) -> float:
    return min(ASK_AGAIN_CEILING, ASK_AGAIN_BASE * 2.0 ** min(times_asked, 10))
