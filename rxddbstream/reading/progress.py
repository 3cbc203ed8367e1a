"""How far the reading of a stream has come: lag and the watermark, told once a call, not once a record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from math import inf

from rxddbstream.errors import ConfigurationError
from rxddbstream.model.origin import WindowOperator
from rxddbstream.model.position import AtTime, Latest
from rxddbstream.model.shard import RETENTION
from rxddbstream.model.times import EPOCH, SETTLING
from rxddbstream.protocol.beginning import Beginning, Kept
from rxddbstream.protocol.lineage import Ready
from rxddbstream.reading.statistics import Counts
from rxddbstream.scheduling.calling import call_each
from rxddbstream.windows.watermark import Watermark

ALIGNMENT = 60.0
"""How many seconds a shard may be ahead of the slowest, at least, where windows are open."""

EMITTED_KEPT_FOR = 2 * RETENTION.total_seconds()
"""For how many seconds it is kept what a window operator had emitted that is gone."""


class Progress:
    """How far one subscription has come; to window operators, an `EventTime`.

    Args:
        alignment: how many seconds a shard may be ahead of the slowest; None: any, but for windows.
        keeps_checkpoints: whether it is kept what window operators have emitted.

    Attributes:
        counts: where its calls are counted.
    """

    def __init__(
        self, counts: Counts, alignment: float | None = None, *, keeps_checkpoints: bool = False
    ) -> None:
        self.counts = counts
        self._alignment_without_windows = alignment
        self._lock = threading.Lock()  # guards what follows; never held while calling out
        self._watermark = Watermark()
        self._lag: dict[str, float] = {}
        self._stopped: set[str] = set()
        self._passed_on = -inf
        self._keeps_checkpoints = keeps_checkpoints
        self._kept_of: str | None = None
        self._emitted: dict[str, float] = {}  # up to which end, by the operator's name
        self._emitted_at: Mapping[str, float] = {}  # at which watermark, by an earlier version
        self._operators: set[str] = set()  # their names
        self._alignment = alignment
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []  # a heap
        self._numbers = count()
        self._listeners: dict[Callable[[float], object], Callable[[], object]] = {}  # what tells each the end
        self._is_over = self._is_read = False
        counts.follow(self)  # at last: whoever asks for statistics may do so at once, on another thread

    def opened(self, ready: Iterable[Ready], beginning: Beginning, now: datetime) -> None:
        """These shards begin to be read, at this time of the service's; to be told before any of them is."""
        with self._lock:
            for shard, position, predecessor in ready:
                at: float | None = None
                if isinstance(position, AtTime):
                    at = position.time.timestamp()
                elif isinstance(position, Latest):
                    at = beginning.latest.time.timestamp() - SETTLING
                self._watermark.opened(shard.id, predecessor, at)
                read_up_to = _time(self._watermark.progress(shard.id))
                self._lag[shard.id] = beginning.lag(shard.id, read_up_to, now)
        self._pass_on()

    def read(self, shard_id: str, created_at: datetime | None, lag: float) -> None:
        """A page was delivered, whose last change was made at `created_at`."""
        with self._lock:
            self._lag[shard_id] = lag
            if created_at is not None:
                self._watermark.read(shard_id, created_at.timestamp())
        self._pass_on()

    def caught_up(self, shard_id: str, answered_at: datetime) -> None:
        """The shard has had nothing new for a while."""
        with self._lock:
            self._lag[shard_id] = 0.0
            self._watermark.caught_up(shard_id, answered_at.timestamp())
        self._pass_on()

    def behind(self, shard_id: str, lag: float) -> None:
        """There was an empty page, which says nothing of the shard's tip."""
        with self._lock:
            self._lag[shard_id] = lag

    def read_up_to(self, shard_id: str) -> datetime | None:
        """Up to when nothing is left to read of a shard; at first, as far as that of its parent was read."""
        with self._lock:
            return _time(self._watermark.progress(shard_id))

    def ended(self, shard_id: str, expects_children: bool) -> None:
        """The shard was read to its end."""
        with self._lock:
            self._lag.pop(shard_id, None)
            self._watermark.ended(shard_id, expects_children)
        self._pass_on()

    def stopped(self, shard_id: str) -> None:
        """The shard is read no more, while others may go on: its error was handled, or it was disposed."""
        with self._lock:
            if self._is_over:
                return
            self._lag.pop(shard_id, None)
            self._stopped.add(shard_id)
            self._watermark.stopped(shard_id)
        self._pass_on()

    def begins(self, shard_id: str) -> None:
        """The shard is subscribed to: anew, if it was stopped."""
        with self._lock:
            if shard_id in self._stopped:
                self._stopped.discard(shard_id)
                self._watermark.opened(shard_id)

    def expect_no_child(self, shard_id: str) -> None:
        """A shard that was read to its end has no child: the watermark waits for none."""
        with self._lock:
            self._watermark.expect_no_child(shard_id)
        self._pass_on()

    def hold(self, is_held: bool) -> None:
        """Whether shards are missing of which nothing is known: the watermark stays where it is till then."""
        with self._lock:
            self._watermark.hold(is_held)
        self._pass_on()

    def must_wait(self, shard_id: str, go_on: Callable[[], object]) -> bool:
        """Whether the shard is so far ahead of the others that its changes would pile up in open windows.

        Args:
            go_on: called when the others have caught up.
        """
        if self._alignment is None:
            return False
        with self._lock:
            if self._alignment is None or self._watermark.ahead(shard_id) <= self._alignment:
                return False
            until = self._watermark.reach(shard_id) - self._alignment
            heappush(self._waiting, (until, next(self._numbers), go_on))
            return True

    def listen(self, listener: Callable[[float], object], ended: Callable[[], object]) -> Callable[[], None]:
        """See `EventTime`."""
        with self._lock:
            self._listeners[listener] = ended
            value, is_over = self._watermark.value, self._is_over
        if value is not None:
            listener(value)
        if is_over:
            ended()

        def stop() -> None:
            with self._lock:
                self._listeners.pop(listener, None)
                if not self._listeners:
                    self._alignment = self._alignment_without_windows
            self._pass_on()

        return stop

    def all_read(self) -> None:
        """All that there is has been read, and nothing need be read again."""
        self._is_read = True

    def end(self) -> None:
        """The reading is over, in whatever way: those who wait for its watermark need not any more."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            listeners = list(self._listeners.values())
        call_each(listeners)

    @property
    def comes_again(self) -> bool:
        """See `EventTime`."""
        return self._keeps_checkpoints and not self._is_read

    def was_late(self) -> None:
        """See `EventTime`."""
        self.counts.was_late()

    def begin_windows(self, operator: WindowOperator) -> float | None:
        """See `EventTime`."""
        name, formerly, span, lateness = operator
        with self._lock:
            if self._keeps_checkpoints and name in self._operators:
                raise ConfigurationError(
                    f"there are two window operators {name!r} on one subscription; what they have emitted "
                    "is checkpointed under their name: give each another name="
                )
            self._operators.add(name)
            if self._alignment_without_windows is None:
                self._alignment = max(self._alignment or ALIGNMENT, span)
            if name not in self._emitted and formerly in self._emitted_at:
                self._emitted[name] = self._emitted_at[formerly] - lateness
            return self._emitted.get(name)

    def end_windows(self, operator: WindowOperator) -> None:
        """See `EventTime`."""
        with self._lock:
            self._operators.discard(operator.name)

    def emitted_windows(self, name: str, end: float) -> None:
        """See `EventTime`."""
        with self._lock:
            self._emitted[name] = max(end, self._emitted.get(name, end))

    @property
    def emitted(self) -> Mapping[str, float]:
        """Up to which end each window operator has emitted its windows."""
        with self._lock:
            return dict(self._emitted)

    @property
    def kept_of(self) -> str | None:
        """The ARN of the stream whose checkpoints are kept; None where none are, or none were loaded yet."""
        return self._kept_of

    def forget_windows(self, now: datetime) -> None:
        """Drop what operators that are gone had emitted, once nothing so old can come again.

        The service drops changes some time after a day; what is read again lies no further back.
        """
        with self._lock:
            read_up_to = self._watermark.value
            if read_up_to is None:
                return
            before = min(read_up_to, now.timestamp()) - EMITTED_KEPT_FOR
            for name, end in list(self._emitted.items()):
                if end < before and name not in self._operators:
                    del self._emitted[name]

    def resume(self, kept: Kept, stream: str) -> None:
        """Go on where an earlier run of the stream has stopped."""
        self._kept_of = stream
        self._emitted, self._emitted_at = dict(kept.windows), kept.watermarks

    @property
    def shards(self) -> int:
        """How many shards are being read."""
        return len(self._lag)

    @property
    def lag(self) -> Mapping[str, float]:
        """Seconds behind, by the ID of each shard being read."""
        with self._lock:
            return dict(self._lag)

    @property
    def watermark(self) -> datetime | None:
        """Up to which creation time all changes have been read."""
        with self._lock:
            value = self._watermark.value
        return _time(-inf if value is None else value)

    def _pass_on(self) -> None:
        """Pass the watermark on to who listens, and let shards go on that it has caught up with."""
        with self._lock:
            value, slowest = self._watermark.value, self._watermark.slowest
            reached = -inf if value is None else value
            may_go_on = []
            # They wait for those that are read: what is missing may be a child of theirs.
            while self._waiting and (self._alignment is None or self._waiting[0][0] <= slowest):
                may_go_on.append(heappop(self._waiting)[2])
            listeners: list[Callable[[float], object]] = []
            if reached > self._passed_on:
                self._passed_on = reached
                listeners = list(self._listeners)
        for go_on in may_go_on:
            go_on()
        for listener in listeners:
            listener(reached)


def _time(seconds: float) -> datetime | None:
    return None if seconds == -inf else EPOCH + timedelta(seconds=seconds)
