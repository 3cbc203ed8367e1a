"""What may be checkpointed: how far a shard's changes are done, without a hole.

A change is done when the observer's `on_next` has returned (`reading/delivery.py` says so), unless somebody
holds it: a buffer, a window, another thread. Then it is done when it was released as often as it was held.
The frontier of a shard is the last done change below the oldest held one:

    delivered   1   2   3   4   5   6
    held                3       5
    frontier        2                     3 is released: the frontier moves on to 4

Delivery is in order, so a hold knows the change before it, and the oldest hold is the first one: all
that is needed is a dict that remembers the order, and each change costs O(1). Of what is held back when it
was done already, the change before it is not known any more; an older one that is done will do.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from rxddbstream.model.origin import EventTime, Numbered, Origin, nothing
from rxddbstream.model.position import After, Position


class _Hold:
    __slots__ = ("before", "times")

    def __init__(self, before: Position) -> None:
        self.before = before
        self.times = 1


class Frontier(Origin):
    """The reading of one shard of which checkpoints are kept: how far it is done.

    Args:
        start: where the reading of the shard begins.
        event_time: see `Origin`.
    """

    __slots__ = ("_ended", "_held", "_kept", "_lock", "_released", "_start", "_stopped_at", "_when_released")

    is_kept = True

    def __init__(self, start: Position, event_time: EventTime | None = None) -> None:
        super().__init__(event_time)
        self._start = start
        self._kept: Position | None = start  # what the last checkpoint says
        self._stopped_at: Position | None = None
        self._when_released: Callable[[], None] | None = None
        self._released: str | None = None  # the newest one that was
        self._held: OrderedDict[str, _Hold] = OrderedDict()
        self._lock = threading.Lock()  # several threads may release
        self._ended = False

    def hold(self, change: Numbered) -> bool:
        """Keep the change, and all after it, from being checkpointed until it is released.

        Returns:
            False when it is too late: its `on_next` has returned, and nobody held it then.
        """
        with self._lock:
            hold = self._held.get(change.sequence_number)
            done = self.done  # once: whoever delivers may move on meanwhile
            if hold is not None:
                hold.times += 1
            elif change is self.current and change is not done:
                self._held[change.sequence_number] = _Hold(self._position_after(done))
            else:
                return False
            return True

    def hold_back(self, change: Numbered) -> bool:
        """The same, also of a change that is done, as long as no checkpoint says so.

        Returns:
            False when one does.
        """
        if self.hold(change):
            return True
        with self._lock:
            kept, number = self._kept, int(change.sequence_number)
            if kept is None or (isinstance(kept, After) and number <= int(kept.sequence_number)):
                return False
            known = [kept.sequence_number] if isinstance(kept, After) else []
            newest = next(reversed(self._held), None)
            in_order = newest is None or int(newest) < number
            if in_order:
                known += [each for each in (newest, self._released) if each and int(each) < number]
            before = After(max(known, key=int)) if known else kept
            self._held[change.sequence_number] = _Hold(before)
            if not in_order:
                self._held.move_to_end(change.sequence_number, last=False)  # no hold lies before `kept`
            return True

    def defer(self) -> Callable[[], None]:
        """Hold the change that is being delivered, unless it was acknowledged; what releases it."""
        current = self.current
        if current is None or not self.hold(current):
            return nothing
        return partial(self.release, current)

    def release(self, change: Numbered) -> None:
        """Take back one hold of the change; no harm is done where there is none."""
        with self._lock:
            hold = self._held.get(change.sequence_number)
            if hold is None:
                return
            hold.times -= 1
            if not hold.times:
                del self._held[change.sequence_number]
                if self._released is None or int(self._released) < int(change.sequence_number):
                    self._released = change.sequence_number
            tell = None if self._held else self._when_released
        if tell is not None:
            tell()

    def when_released(self, tell: Callable[[], None]) -> None:
        """Have this called whenever nothing is held any more, on the thread that released it."""
        with self._lock:
            self._when_released = tell

    @property
    def is_holding(self) -> bool:
        """Whether somebody holds a change."""
        with self._lock:
            return bool(self._held)

    def end(self) -> None:
        """The shard was read to its end, and all of it was delivered."""
        with self._lock:
            self._ended = True

    def stop(self) -> None:
        """Nobody will deliver what is left: what is released from now on may have been dropped."""
        with self._lock:
            if not self._ended and self._stopped_at is None:
                self._stopped_at = self._position()

    @property
    def position(self) -> Position | None:
        """Where reading would go on after a crash; None when the whole shard is done."""
        with self._lock:
            return self._stopped_at or self._position()

    def keep(self) -> Position | None:
        """The same, for a checkpoint: what is done by then can be held back no more."""
        with self._lock:
            self._kept = self._stopped_at or self._position()
            return self._kept

    def _position(self) -> Position | None:
        for oldest in self._held.values():
            return oldest.before
        return None if self._ended else self._position_after(self.done)

    def _position_after(self, done: Numbered | None) -> Position:
        return After(done.sequence_number) if done is not None else self._start
