"""Event-time progress: up to which creation time all changes of a stream have been read.

Each shard has a progress of its own, its changes' creation times. The stream's watermark is the smallest
of them: of a change that is older, it says that it comes late. What closes at it is in `aligned.py` and
`sessions.py`.

    shard a      1    4         9                progress 9
    shard b         3      5                     progress 5, the slowest: the watermark
    shard c                       (empty, at 12) progress 10: there was nothing up to then

The rules:

* It never goes back. A shard that is found late holds it where it is, until it has caught up.
* It is held where shards are known to be missing: whoever waits for a parent that is not listed, or is that
  parent, may have older changes. Those that are read are apart from each other no further than before.
* A shard of which nothing is known holds it: it may have changes from yesterday.
* An empty answer at the tip of a shard moves it on, or a quiet shard would hold up all windows.
* A shard that has ended holds it until its first child opens, which goes on from there. So shards that
  wait for their parent need not be told of. Where none is listed, it is told that none is expected: that of
  a stream that was switched off has none.
* A shard that is read no more holds nothing, though it has not ended: what is left of it is not to come.
* A split shard has two children, and the listing may show one of them first. So a child counts as where
  its parent ended until it has come `siblings` seconds further: time for the other one to be listed.
  It is told in event time, so that reading what was written yesterday does not wait.

Progress only grows, so the heap has one entry for each shard, which may be too small, and is put right
when it comes to the top: a page costs O(log n), and mostly O(1).
"""

from __future__ import annotations

import heapq
from itertools import count
from math import inf

from rxddbstream.model.times import SETTLING

SIBLINGS = 10.0
"""How many seconds a shard's second child may be listed after its first one."""


class _Shard:
    __slots__ = ("ends", "has_child", "id", "is_done", "is_ended", "is_stopped", "progress", "reach")

    def __init__(self, shard_id: str) -> None:
        self.id = shard_id
        self.progress = -inf
        self.reach = -inf  # what counts of the progress
        self.ends: tuple[float, ...] = ()  # where its ancestors ended, as long as siblings may turn up
        self.is_ended = self.has_child = self.is_done = self.is_stopped = False


class Watermark:
    """The watermark of one stream. Times are seconds since the epoch; callers take turns.

    Open all shards of a listing before any of them is read, or the first one runs off alone. Tell of a
    page when its changes have been handed on: they would be late otherwise.

    Args:
        siblings: how many seconds a shard's second child may be listed after its first one.

    >>> watermark = Watermark()
    >>> watermark.opened("a"), watermark.opened("b")
    (None, None)
    >>> watermark.read("a", 9.0)
    >>> watermark.value  # b may have older ones
    >>> watermark.read("b", 5.0)
    >>> watermark.value, watermark.ahead("a")
    (5.0, 4.0)
    >>> watermark.caught_up("b", answered_at=20.0)
    >>> watermark.value
    9.0
    """

    __slots__ = ("_heap", "_held_at", "_numbers", "_shards", "_siblings", "_value")

    def __init__(self, *, siblings: float = SIBLINGS) -> None:
        self._siblings = siblings
        self._value = -inf  # of the shards that are read
        self._held_at: float | None = None
        self._shards: dict[str, _Shard] = {}
        self._heap: list[tuple[float, int, _Shard]] = []
        self._numbers = count()  # so that no two shards are compared

    def opened(self, shard_id: str, parent_id: str | None = None, at: float | None = None) -> None:
        """A shard begins to be read. It goes on from its parent, which holds the watermark no longer.

        Tell of a shard at once, and again when it begins, if it waits for a parent that is not known.

        Args:
            at: before when nothing is read of it: the time to start at; with "latest", the present less
                `SETTLING`.
        """
        shard = self._shards.get(shard_id)
        if shard is None:
            shard = self._shards[shard_id] = _Shard(shard_id)
            heapq.heappush(self._heap, (-inf, next(self._numbers), shard))
        parent = self._shards.get(parent_id) if parent_id is not None else None
        if parent is not None and parent is not shard:
            if shard.progress < parent.progress:
                shard.ends = (*parent.ends, parent.progress)
                self._move(shard, parent.progress)
            parent.has_child = True
            self._finish(parent)
        if at is not None:
            self._move(shard, at)
        self._advance()

    def stopped(self, shard_id: str) -> None:
        """The shard is read no more, though it has not ended: nobody waits for it. It may be opened anew."""
        shard = self._shards.pop(shard_id, None)
        if shard is not None:
            shard.is_stopped = True
            self._advance()

    def read(self, shard_id: str, created_at: float) -> None:
        """The shard's changes have been read up to this one."""
        shard = self._shards.get(shard_id)
        if shard is not None:  # whoever reads it may be told that it was stopped after he has told this
            self._move(shard, created_at)
            self._advance()

    def caught_up(self, shard_id: str, answered_at: float) -> None:
        """The shard is at its tip: an answer was empty, and not because there is more to come.

        Args:
            answered_at: the service's time of the answer.
        """
        self.read(shard_id, answered_at - SETTLING)

    def ended(self, shard_id: str, expects_children: bool) -> None:
        """The shard has been read to its end.

        Args:
            expects_children: whether it holds the watermark until a child of it opens. Without, it is the
                last one of its line, of which nothing more is to be listed.
        """
        shard = self._shards.get(shard_id)
        if shard is None:
            return
        shard.is_ended = True
        shard.has_child = shard.has_child or not expects_children
        self._finish(shard)
        self._advance()

    def expect_no_child(self, shard_id: str) -> None:
        """No child of the shard was listed for long: should one turn up all the same, it comes late."""
        shard = self._shards.get(shard_id)
        if shard is not None:
            shard.has_child = True
            self._finish(shard)
            self._advance()

    @property
    def value(self) -> float | None:
        """What is older has been read, or comes late; None while a shard's progress is unknown."""
        value = self._value if self._held_at is None else self._held_at
        return None if value == -inf else value

    @property
    def slowest(self) -> float:
        """How far the slowest of the shards has come that are read: the same, unless it is held."""
        return self._value

    def hold(self, is_held: bool) -> None:
        """Whether it stays where it is. Open the shards that it was held for before it goes on."""
        if is_held and self._held_at is None:
            self._held_at = self._value
        elif not is_held and self._held_at is not None:
            self._value, self._held_at = self._held_at, None
            self._advance()

    def reach(self, shard_id: str) -> float:
        """Where the shard would let the watermark go; minus infinity where its progress is unknown."""
        shard = self._shards.get(shard_id)
        return -inf if shard is None else shard.reach

    def progress(self, shard_id: str) -> float:
        """Up to when the shard has been read; minus infinity where that is unknown."""
        shard = self._shards.get(shard_id)
        return -inf if shard is None else shard.progress

    def ahead(self, shard_id: str) -> float:
        """Seconds that a shard is ahead of the slowest, which is how much it adds to open windows.

        A shard that is ahead by more than some bound may wait for the others. The slowest never is, so
        one always goes on.
        """
        reach = self.reach(shard_id)
        return 0.0 if reach == -inf else max(0.0, reach - self._value)

    def _move(self, shard: _Shard, progress: float) -> None:
        # What counts of a child is held where its parents ended until siblings can turn up no more. So an end
        # that was passed far enough is let go first; only then is it known what counts.
        if progress <= shard.progress:
            return
        shard.progress = progress
        if shard.ends:
            shard.ends = tuple(end for end in shard.ends if progress < end + self._siblings)
        # One that is done is a memory: how long it is kept was settled when it was.
        if not shard.is_done:
            shard.reach = max(shard.reach, shard.ends[0] if shard.ends else progress)

    def _finish(self, shard: _Shard) -> None:
        # Both must be known, in whichever order they come: the shard's reader tells the end, the listing the
        # child. Were it done at its end alone, nothing would hold the watermark until the child opens.
        if shard.is_ended and shard.has_child:
            shard.is_done = True
            # Remembered until it makes no difference to a child that is found late.
            shard.reach = shard.progress + self._siblings

    def _advance(self) -> None:
        heap = self._heap
        while heap:
            bound, number, shard = heap[0]
            if shard.is_stopped:
                heapq.heappop(heap)
                continue
            if bound < shard.reach:
                heapq.heapreplace(heap, (shard.reach, number, shard))
                continue
            if not shard.is_done:
                self._value = max(self._value, bound)
                return
            heapq.heappop(heap)
            del self._shards[shard.id]
            self._value = max(self._value, shard.progress)
