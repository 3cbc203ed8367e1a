"""Which shards may be read, and when: lists them, and hands each to the outlet when it may start.

The work is one coroutine, a generator that yields how long it waits, and is stepped on a scheduler. It runs
apart from the polls, which a slow subscriber can hold up.

    connect -> list -> hand on what is ready -> wait -> ask for what is missing -> hand on what is ready ...

What is missing are children of shards that have ended, and parents that hold back a child. They are
asked for with backoff until they show up. A slow full listing is the safety net.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from datetime import timedelta
from functools import partial

from reactivex import abc
from reactivex.disposable import Disposable

from rxddbstream.aws.client import StreamClient
from rxddbstream.errors import IteratorTrimmed, ShardNotFound, StreamDisabled, StreamNotFound
from rxddbstream.model.position import CLOCKS_DIFFER, TrimHorizon, resolve
from rxddbstream.model.shard import Shard
from rxddbstream.protocol.beginning import Beginning
from rxddbstream.protocol.doubt import Doubt
from rxddbstream.protocol.lineage import Lineage
from rxddbstream.protocol.pacing import backoff
from rxddbstream.reading.calls import Calls
from rxddbstream.reading.delivery import ShardStream
from rxddbstream.reading.earlier import EarlierStreams
from rxddbstream.reading.options import ReadOptions
from rxddbstream.reading.outlet import Outlet
from rxddbstream.scheduling.coroutine import Stepper, Wait

FULL_LISTING_INTERVAL = 60.0
ASK_AGAIN_BASE = 0.25
ASK_AGAIN_CEILING = 10.0
FILTERED_AT_MOST = 3  # children of more shards than this are found by one listing
SHORTEST_WAIT = 0.001  # a virtual clock does not move for less than a microsecond
PATIENCE = 6  # times that the last children are asked for, before there are none
PATIENCE_DISABLED = 4  # the same of a disabled stream, whose last shards have none
CHILD_OVERDUE = FULL_LISTING_INTERVAL  # seconds that event time waits for a child, which the next listing has
CHILD_OVERDUE_AT_THE_END = 15.0  # the same where none may come: as long as the last children are asked for


class Discovery:
    """One subscription's discovery.

    Args:
        find: finds the stream; may fail, and is tried again where that may help.
        options: how the stream is read.
        calls: makes the calls.
        outlet: gets the shards that may be read.
        observer: is told how it ends.
        earlier: reads what is left of the streams that the table had before.
    """

    def __init__(
        self,
        find: Callable[[], StreamClient],
        options: ReadOptions,
        calls: Calls,
        outlet: Outlet,
        observer: abc.ObserverBase[ShardStream],
        earlier: EarlierStreams,
    ) -> None:
        self._earlier = earlier
        self._find = find
        self._options = options
        self._calls = calls
        self._outlet = outlet
        self._observer = observer
        self._lock = threading.Lock()  # guards the lineage; never held while calling out
        self._doubts: dict[str, Doubt] = {}  # of shards that no listing has shown
        self._lineage: Lineage
        self._childless_since: dict[str, float | None] = {}  # None: nobody waits for a child any more
        self._stepper: Stepper

    def run(self, scheduler: abc.SchedulerBase) -> abc.DisposableBase:
        """Make the first step at once, so that "latest" means the moment of subscribing."""
        observer = self._observer
        discover = self._discover(self._calls.now())
        self._stepper = Stepper(discover, scheduler, observer.on_completed, observer.on_error)
        self._stepper.start()
        return Disposable(self._dispose)

    def _dispose(self) -> None:
        self._stepper.dispose()
        self._close()

    def _close(self) -> None:
        self._earlier.dispose()
        self._outlet.close()

    def _wake(self) -> None:
        self._stepper.wake()

    def _shard_ended(self, shard: Shard, short: bool) -> None:
        with self._lock:
            self._lineage.end(shard.id, short=short)
        self._stepper.wake()

    def _discover(self, subscribed: float) -> Generator[Wait, None, None]:
        """The whole coroutine.

        Args:
            subscribed: when it began, by the clock of the calls.
        """
        try:
            yield from self._begin(subscribed)
            yield from self._watch()
            # on_completed may release more; disposing closes the outlet, after that.
            yield from self._calls.until_answered(self._outlet.flush)
        except (GeneratorExit, KeyboardInterrupt, SystemExit):
            # Whoever disposed in the middle of a step may have found nothing to close; who interrupts cannot
            # dispose.
            self._close()
            raise

    def _begin(self, subscribed: float) -> Generator[Wait, None, None]:
        calls, outlet = self._calls, self._outlet
        yield from calls.connect(self._find)
        for arn in (yield from calls.until_answered(partial(outlet.earlier, calls.client))):
            outcome = yield from self._earlier.read(calls.client.of(arn), self._wake)
            for gap in outcome.gaps:
                if (loss := outlet.lose_earlier(arn, gap)) is not None:
                    raise loss
            if outcome.is_over:
                yield from calls.until_answered(partial(outlet.leave, arn))
        kept = yield from calls.until_answered(partial(outlet.load, calls.client))
        shards, listed_at, listed = yield from calls.list_all()
        # By the service's clock: ours may be off.
        subscribed_at = listed_at - timedelta(seconds=listed - subscribed)
        asked = resolve(self._options.start, subscribed_at, CLOCKS_DIFFER)
        beginning = Beginning.of(asked, kept, shards, listed_at)
        if not self._stepper.in_first_step:
            beginning = beginning.answered_late(timedelta(seconds=listed - subscribed))
        self._lineage = Lineage(beginning.start, began=beginning.began, kept=kept.shards)
        self._lineage.observe(shards)
        ready = self._lineage.take_ready()
        first = beginning.to_keep(shards, {each.shard.id: each.position for each in ready})
        yield from calls.until_answered(partial(outlet.begin, beginning, first, self._shard_ended))
        if not self._stepper.in_first_step:
            ready = [each._replace(position=beginning.fixed(each.position)) for each in ready]
        outlet.expect_more(bool(self._lineage.unlisted()))
        outlet.open(ready)
        yield from self._confirm_parents()

    def _watch(self) -> Generator[Wait, None, None]:
        next_listing = self._calls.now() + FULL_LISTING_INTERVAL
        last_asked, times_asked = self._calls.now(), 0
        known_missing: set[str] = set()
        filtering = True
        while True:
            self._open_ready()
            with self._lock:
                childless = self._lineage.childless()
                unlisted = self._lineage.unlisted()
                nothing_known = self._lineage.is_empty
            self._expect_no_more_of(childless)
            missing = {*childless, *unlisted}
            if missing - known_missing:
                times_asked = 0
            known_missing = missing
            if self._is_over(times_asked):
                return
            due = next_listing
            if missing or nothing_known:
                due = min(due, last_asked + backoff(times_asked + 1, 1.0, ASK_AGAIN_BASE, ASK_AGAIN_CEILING))
            wait = due - self._calls.now()
            if wait > SHORTEST_WAIT:
                yield Wait(wait, until_woken=True)
                continue
            last_asked, times_asked = self._calls.now(), times_asked + 1
            if self._options.until is not None and self._calls.client.answered_at < self._options.until:
                times_asked = min(times_asked, PATIENCE - 1)  # what is to come has time until then
            few = 0 < len(childless) <= FILTERED_AT_MOST and not unlisted
            if filtering and few and due < next_listing:
                filtering = yield from self._list_children(childless)
                continue
            yield from self._list_again()
            next_listing = self._calls.now() + FULL_LISTING_INTERVAL

    def _expect_no_more_of(self, childless: list[str]) -> None:
        """Let event time go on where no child was listed for long, or windows would wait for it for ever."""
        now = self._calls.now()
        self._childless_since = {each: self._childless_since.get(each, now) for each in childless}
        until = self._options.until
        if until is not None and self._calls.client.answered_at < until:
            return  # what is to come has time until then
        for shard_id, since in self._childless_since.items():
            if since is not None and now - since >= self._child_overdue:
                self._childless_since[shard_id] = None
                self._outlet.expect_no_child(shard_id)

    @property
    def _child_overdue(self) -> float:
        goes_on = self._options.follow and self._calls.enabled
        return CHILD_OVERDUE if goes_on else CHILD_OVERDUE_AT_THE_END

    def _is_over(self, times_asked: int) -> bool:
        """Whether nothing is being read, and nothing will come.

        Raises:
            StreamDisabled: because the stream was switched off.
        """
        if self._options.follow and self._calls.enabled:
            return False
        with self._lock:
            idle, childless = self._lineage.is_idle, self._lineage.childless()
        # The last children may be listed late.
        patience = PATIENCE if self._calls.enabled else PATIENCE_DISABLED
        if not idle or (childless and times_asked < patience):
            return False
        if self._options.follow:
            raise StreamDisabled(
                f"stream {self._calls.client.arn} was disabled, and has been read to its end; nothing will "
                "follow. Where the table is still there, enable a stream on it, and subscribe to the table "
                "again; with checkpoints nothing of the new stream is missed"
            )
        return True

    def _open_ready(self) -> None:
        with self._lock:
            ready, unlisted = self._lineage.take_ready(), self._lineage.unlisted()
        # Those that wait for a parent that is not listed may have older changes than all that are read.
        if unlisted:
            self._outlet.expect_more(True)
        self._outlet.open(ready)
        if not unlisted:
            self._outlet.expect_more(False)

    def _list_again(self) -> Generator[Wait, None, set[str]]:
        """List all shards; their IDs."""
        shards, listed_at, _ = yield from self._calls.list_all()
        listed = {shard.id for shard in shards}
        with self._lock:
            self._lineage.observe(shards)
            forgotten = self._lineage.forget_all_but(listed, listed_at)
        yield from self._calls.until_answered(partial(self._outlet.forget, forgotten))
        self._open_ready()
        yield from self._confirm_parents()
        return listed

    def _list_children(self, childless: list[str]) -> Generator[Wait, None, bool]:
        """Ask for the children of these shards; whether the service knows how to."""
        for shard_id in childless:
            try:
                children = yield from self._calls.list_children(shard_id)
            except StreamNotFound:
                # That may mean the shard. If the stream is gone, the listing says so.
                listed = yield from self._list_again()
                if self._options.follow and shard_id not in listed:
                    with self._lock:
                        self._lineage.stop_asking_for_children(shard_id)
                    self._outlet.expect_no_child(shard_id)
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
            if not (yield from self._is_gone(shard_id)):
                continue
            with self._lock:
                gap = self._lineage.confirm_gone(shard_id, self._calls.client.answered_at)
            if gap is not None:
                if (loss := self._outlet.lose(gap)) is not None:
                    raise loss
                yield from self._calls.until_answered(partial(self._outlet.give_up, shard_id))
        # At last, and all at once: one that is opened before the others would be alone in event time.
        self._open_ready()

    def _is_gone(self, shard_id: str) -> Generator[Wait, None, bool]:
        """Ask for a shard that the listing lacks; whether it is believed to be gone."""
        ask = partial(self._calls.client.get_iterator, shard_id, TrimHorizon())
        with self._lock:
            was_read = self._lineage.was_stopped_in(shard_id)
        doubt = self._doubts.setdefault(shard_id, Doubt(was_read=was_read))
        try:
            yield from self._calls.until_answered(ask)
        except IteratorTrimmed:
            pass  # no denial: the service knows the shard, and has dropped what was in it
        except ShardNotFound:
            now = self._calls.client.answered_at
            doubt.denied(now)
            if not doubt.is_gone(now, is_listed_open=False):
                return False
        else:
            del self._doubts[shard_id]
            return False
        del self._doubts[shard_id]
        return True
