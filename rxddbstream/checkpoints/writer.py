"""Writes a subscription's checkpoints: gathers how far each shard is done, and puts it into a store.

What was gathered is a batch. A store may write only a part of it, and fail. Then the next write goes on where
that one was cut, in the same order, and nothing newer is written before the batch is through: so each text
has its turn, however few get through at a time. A store does not tell how many those were. After a failure
it is given half as many texts at once, down to one, and twice as many after each success.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from reactivex import abc
from reactivex.disposable import MultipleAssignmentDisposable

from rxddbstream.checkpoints.codec import SEEN, SHARD_END, from_texts, no_longer_emitted, to_texts
from rxddbstream.checkpoints.frontier import Frontier
from rxddbstream.checkpoints.store import CheckpointStore, InUseHere
from rxddbstream.errors import CheckpointError, CheckpointUnreadable, StreamError, TransientError
from rxddbstream.model.events import Checkpointed
from rxddbstream.model.origin import EventTime
from rxddbstream.model.position import AtTime, Position, TrimHorizon
from rxddbstream.protocol.beginning import Kept
from rxddbstream.scheduling.lane import FORKED

SIGN_OF_LIFE_EVERY = timedelta(minutes=1)
PATIENCE = timedelta(seconds=0.25)
"""How long a store may still be in use in this process: `retry()` subscribes while the first is disposed."""

_ANY_NUMBER = 1000  # that many texts went through at once: the store is itself again

log = logging.getLogger("rxddbstream")

T = TypeVar("T")

_users: dict[tuple[int, int, str], Writer] = {}  # of stores, by the process, the object and the stream
_users_lock = threading.Lock()


class Writer:
    """One subscription's checkpoints.

    Args:
        store: where they are kept.
        stream: the stream's ARN.
        alive: the service's time of the last answer.
        emitted: up to which end each window operator has emitted its windows, by name.
        scheduler: where to write; not where shards are polled.
        emit: is told of what was written.
        on_failure: called with what will not pass.
    """

    def __init__(
        self,
        store: CheckpointStore,
        stream: str,
        *,
        alive: Callable[[], datetime],
        emitted: Callable[[], Mapping[str, float]],
        scheduler: abc.SchedulerBase,
        emit: Callable[[Checkpointed], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._renew: Callable[[str], object] | None = getattr(store, "renew", None)
        self._stream = stream
        self._alive: Callable[[], datetime] | None = alive
        self._emitted = emitted
        self._scheduler = scheduler
        self._emit = emit
        self._on_failure = on_failure
        self._next_write = MultipleAssignmentDisposable()
        self._lock = threading.Lock()  # guards the frontiers and the count
        self._writing = threading.RLock()  # the store is called by one thread at a time
        self._calling = self._close_after_call = False  # the store; whether it has disposed us meanwhile
        self._frontiers: dict[str, tuple[Frontier, Callable[[], datetime]]] = {}
        self._texts: dict[str, str] = {}  # as the store has them
        self._batch: dict[str, str] = {}  # what is still to be written of the last one, in its order
        self._at_once: int | None = None  # so many texts a call; None: any number
        self._seen: datetime | None = None  # the last sign of life that the store has
        self._count = 0
        self._closing = self._closed = self._write_is_due = False
        self._refused_at: datetime | None = None  # when the store was first found in use
        self._process = os.getpid()

    def load(self) -> Kept:
        """What earlier runs have kept.

        Raises:
            CheckpointLocked: another subscription uses the store.
            CheckpointError: it cannot be read.
        """
        with self._writing:
            try:
                self._take()
                self._texts = dict(self._call(self._store.load, self._stream))
            except InUseHere as error:
                self._give_back()
                if self._is_patient():
                    raise TransientError(str(error)) from error
                raise
            except BaseException:
                self._give_back()
                raise
            try:
                kept = from_texts(self._texts)
            except (AttributeError, TypeError, ValueError) as error:  # one that is no text at all, too
                self._let_go()
                raise CheckpointUnreadable(
                    f"the checkpoints of stream {self._stream} are damaged ({error}); "
                    "they were left as they are"
                ) from error
            self._seen = kept.seen
            return kept

    def _take(self) -> None:
        with _users_lock:
            other = _users.setdefault(self._use, self)
        if other is self:
            return
        message = (
            f"this {type(self._store).__name__} is in use by another subscription to stream {self._stream}; "
            "a store is for one at a time. Dispose the other one, or give each a store of its own"
        )
        if other._closing:
            raise TransientError(message)
        raise InUseHere(message)

    def _give_back(self) -> None:
        with _users_lock:
            if _users.get(self._use) is self:
                del _users[self._use]

    @property
    def _use(self) -> tuple[int, int, str]:
        return self._process, id(self._store), self._stream

    def _is_patient(self) -> bool:
        now = self._scheduler.now
        self._refused_at = self._refused_at or now
        return now - self._refused_at < PATIENCE

    def _let_go(self) -> None:
        try:
            self._call(self._store.close, self._stream)
        finally:
            self._give_back()

    def begin(self, first: Kept) -> None:
        """Keep where the consumer begins, before anything is read; then write every now and then.

        Raises:
            StreamError: it cannot be written; a `TransientError` may pass.
        """
        # It is enough to know where shards without a position begin. A store that is throttled may take its
        # time for the positions: what it does not take now, the next write has.
        self._save(Kept(start=first.start, began=first.began))
        try:
            self._save(first if self._seen is not None else replace(first, seen=first.began))
        except TransientError as error:
            log.warning("checkpoints were not written, the next time they will be: %s", error)
        self._next_write.disposable = self._scheduler.schedule_relative(self._store.period, self._tick)

    def frontier(
        self,
        shard_id: str,
        start: Position,
        unread_at: Callable[[], datetime],
        event_time: EventTime | None = None,
    ) -> Frontier:
        """A shard begins to be read; whoever delivers its changes says so to its frontier.

        Args:
            start: where.
            unread_at: when the service last answered that there is nothing to deliver yet.
            event_time: how far the subscription has come.
        """
        frontier = Frontier(start, event_time)
        with self._lock:
            self._frontiers[shard_id] = frontier, unread_at
        return frontier

    def stop_sign_of_life(self) -> None:
        """The run ends because something was lost: the next one shall find it so, too."""
        self._alive = None

    def delivered(self, count: int) -> None:
        """So many changes were delivered."""
        with self._lock:
            self._count += count
            # One write at most waits for its turn: a slow store must not keep others from theirs.
            due = self._count >= self._store.count and not self._write_is_due
            self._write_is_due |= due
        if due:
            self._scheduler.schedule(lambda *_: self._write())

    def give_up(self, shard_id: str) -> None:
        """The service has lost this shard; the next run need not find out again."""
        self._save(Kept(shards={shard_id: None}))

    def forget(self, shard_ids: Collection[str]) -> None:
        """Drop what is kept of shards that the service no longer has, and of windows that are forgotten."""
        kept = self._texts.keys() | self._batch.keys()
        gone = [shard_id for shard_id in shard_ids if shard_id in kept]
        gone += no_longer_emitted(kept, self._emitted())
        if gone:
            with self._turn():
                self._call(self._store.forget, self._stream, gone)
                for key in gone:
                    self._texts.pop(key, None)
                    self._batch.pop(key, None)

    def flush(self) -> None:
        """Write what is done so far.

        Raises:
            StreamError: it cannot be written.
        """
        self._save(self._gather())

    @property
    def is_all_done(self) -> bool:
        """Whether the store has no shard of which something is left."""
        return all(text == SHARD_END for key, text in self._texts.items() if not key.startswith("*"))

    def when_released(self, tell: Callable[[], None]) -> None:
        """Have this called when nothing is held: now, or on the thread that releases the last change."""
        with self._lock:
            frontiers = [frontier for frontier, _ in self._frontiers.values()]

        def look() -> None:
            if not any(frontier.is_holding for frontier in frontiers):
                tell()

        for frontier in frontiers:
            frontier.when_released(look)
        look()

    def close(self) -> None:
        """Write once more, and let others use the store.

        In a child that was forked since, nothing is done: the store is in use in the other process, by which
        it is closed; and a thread that is not there may have had the lock.

        Raises:
            StreamError: the last write failed; what it would have kept will be delivered again.
        """
        if os.getpid() != self._process:
            return
        self._closing = True
        self._next_write.dispose()
        with self._writing:
            if self._calling:  # on this thread: the store itself has disposed, and is not to be called again
                self._close_after_call = True
            else:
                self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._store_all(self._gather(), {})
        finally:
            self._let_go()

    def _tick(self, _: abc.SchedulerBase, state: object = None) -> None:
        self._write()
        self._next_write.disposable = self._scheduler.schedule_relative(self._store.period, self._tick)

    def _write(self) -> None:
        with self._lock:
            self._count, self._write_is_due = 0, False
        try:
            self._save(self._gather())
        except TransientError as error:
            # Nothing is lost by it: the next write has all that this one had.
            log.warning("checkpoints were not written, the next time they will be: %s", error)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            self._on_failure(error)

    def _save(self, kept: Kept) -> None:
        written: dict[str, str] = {}
        try:
            with self._turn():
                if not self._closed:
                    self._store_or_renew(kept, written)
        finally:
            written.pop(SEEN, None)  # is no news
            if written:
                self._emit(Checkpointed(written))

    def _store_or_renew(self, kept: Kept, written: dict[str, str]) -> None:
        try:
            self._store_all(kept, written)
        except TransientError:
            self._show_life(written)  # which is less to write than what did not pass
            raise
        self._show_life(written)

    def _show_life(self, written: Mapping[str, str]) -> None:
        if not written and self._renew is not None:
            self._call(self._renew, self._stream)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """The store is called by nobody else; and closed at the end, if it has disposed us from inside."""
        if os.getpid() != self._process:
            raise CheckpointError(f"the subscription to stream {self._stream} {FORKED}")
        with self._writing:
            try:
                yield
            finally:
                if self._close_after_call:
                    try:
                        self._close()
                    except StreamError as error:  # whoever disposed has long returned
                        log.error("%s", error)

    def _store_all(self, kept: Kept, written: dict[str, str]) -> None:
        """Write this, after what is left of the last batch; what was written of it is told in `written`."""
        self._store_batch(written)
        self._batch = {key: text for key, text in to_texts(kept).items() if text != self._texts.get(key)}
        self._store_batch(written)
        self._seen = kept.seen or self._seen
        with self._lock:
            for shard_id, position in kept.shards.items():
                if position is None:
                    self._frontiers.pop(shard_id, None)

    def _store_batch(self, written: dict[str, str]) -> None:
        while self._batch:
            part = dict(itertools.islice(self._batch.items(), self._at_once))
            try:
                self._call(self._store.save, self._stream, part)
            except TransientError:
                self._at_once = max(1, len(part) // 2)
                raise
            for key in part:
                self._batch.pop(key, None)
            self._texts |= part
            written |= part
            if self._at_once is not None:
                self._at_once = 2 * self._at_once if self._at_once < _ANY_NUMBER else None

    def _call(self, method: Callable[..., T], *arguments: object) -> T:
        """Call the store, which may be anybody's."""
        self._calling = True
        try:
            return method(*arguments)
        except StreamError:
            raise
        except Exception as error:
            raise CheckpointError(f"the checkpoint store failed: {type(error).__name__}: {error}") from error
        finally:
            self._calling = False

    def _gather(self) -> Kept:
        with self._lock:
            frontiers = list(self._frontiers.items())
        alive = self._alive
        seen = [alive()] if alive is not None else []
        positions: dict[str, Position | None] = {}
        for shard_id, (frontier, unread_at) in frontiers:
            positions[shard_id] = position = frontier.keep()
            if isinstance(position, TrimHorizon | AtTime):
                # The service moves these up in silence: what the next run must know is since when.
                seen.append(unread_at())
        is_news = seen and (self._seen is None or min(seen) - self._seen >= SIGN_OF_LIFE_EVERY)
        return Kept(
            seen=min(seen) if is_news and alive is not None else None,
            shards=positions,
            # After the positions: those that lie behind a window have it emitted, and must say so.
            windows=self._emitted(),
        )
