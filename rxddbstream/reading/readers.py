"""Those who have subscribed to single shards: they live on when the stream of shards is disposed.

As with RxPY's groups, whoever has a shard reads it to its end, or until he disposes it. So the threads that
poll, and the checkpoints, are there until the last one has left::

    shards      --A-----B---x          disposed: no shard comes any more
      A           -a1----a2------a3-|
      B                 -b1----x
    over                           *   the last checkpoint is written
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from reactivex import abc

from rxddbstream.errors import ConfigurationError
from rxddbstream.scheduling.calling import call_each
from rxddbstream.scheduling.pool import TimerPoolScheduler

if TYPE_CHECKING:
    from rxddbstream.reading.delivery import ShardStream


class Reader(Protocol):
    """The reading of one shard by one who has subscribed to it."""

    def stop(self) -> None:
        """Nothing more is delivered."""

    def break_off(self, error: BaseException) -> None:
        """Nothing more is delivered; the error comes when `on_next` has returned. We do not wait for it."""


class Readers(abc.ObserverBase["ShardStream"]):
    """One subscription to a stream of shards: its observer, and who reads the shards.

    Args:
        observer: gets the shards. An error that ends the whole is told to it, and to all who read.
        polls: where the shards are read.
        within: those of the subscription that this one is a part of; who reads here counts there, too.
    """

    def __init__(
        self,
        observer: abc.ObserverBase[ShardStream],
        polls: abc.SchedulerBase,
        *,
        within: Readers | None = None,
    ) -> None:
        self._observer = observer
        self._within = within
        self._pool = polls if isinstance(polls, TimerPoolScheduler) else None
        self._lock = threading.Lock()  # guards what follows; never held while calling out
        self._reading: set[Reader] = set()
        self._closed = False
        self._when_over: Callable[[], object] | None = None
        self._error: Any = None

    def watch_shutdown(self) -> None:
        """Tell all of a shutdown of the pool. Where they are merged, who merges them does so."""
        if self._pool is not None:
            self._pool.before_shutdown(self._shut_down)

    def on_next(self, value: ShardStream) -> None:
        self._observer.on_next(value)

    def on_completed(self) -> None:
        self._observer.on_completed()

    def on_error(self, error: Any) -> None:
        with self._lock:
            reading = list(self._reading)
            if not self._closed:
                self._error = error
        tell = partial(self._observer.on_error, error)
        call_each([tell, *(partial(reader.break_off, error) for reader in reading)])

    def unhandled(self, error: BaseException) -> None:
        """One who reads has no `on_error`: it ends the whole.

        Raises:
            BaseException: the error, when the stream of shards was disposed, and is told nothing any more.
        """
        if error is self._error:
            return
        if self._closed:
            raise error
        self.on_error(error)

    def enter(self, reader: Reader) -> None:
        """One begins to read.

        Raises:
            ConfigurationError: it is too late.
        """
        if self._within is not None:
            self._within.enter(reader)
        with self._lock:
            too_late = self._closed and not self._reading
            if not too_late:
                self._reading.add(reader)
        if too_late:
            self.leave(reader)
            raise ConfigurationError(
                "the stream of shards is over, and nothing reads this shard any more; subscribe to each "
                "shard as soon as it comes"
            )

    def leave(self, reader: Reader) -> None:
        """One has ended."""
        with self._lock:
            was_there = reader in self._reading
            self._reading.discard(reader)
        if was_there:
            self._end_if_over()
        if self._within is not None:
            self._within.leave(reader)

    def close(self, when_over: Callable[[], object]) -> None:
        """The stream of shards has ended.

        Args:
            when_over: called when the last one has left; now, if there is none, or no thread to read on.
        """
        with self._lock:
            self._closed = True
            self._when_over = when_over
            if self._pool is not None and self._pool.unusable is not None:
                self._reading.clear()
        self._end_if_over()

    def _end_if_over(self) -> None:
        with self._lock:
            when_over = None
            if not self._reading:  # once; and who keeps us keeps no more than that
                when_over, self._when_over = self._when_over, None
        if when_over is not None:
            if self._pool is not None:
                self._pool.not_before_shutdown(self._shut_down)
            when_over()

    def _shut_down(self) -> None:
        assert self._pool is not None
        if self._pool.serves_one:
            with self._lock:
                reading = list(self._reading)
            for reader in reading:
                reader.stop()
            return
        error = ConfigurationError("the scheduler was shut down while it was reading the stream")
        # Whoever is in on_next may have what the observer waits for, and wait for the one who shuts down.
        tell = threading.Thread(target=self.on_error, args=[error], name="rxddbstream-shutdown", daemon=True)
        try:
            tell.start()
        except RuntimeError:  # the system, or an interpreter that ends, has no thread for it
            self.on_error(error)
