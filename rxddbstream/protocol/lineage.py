"""The shard tree: which shards may start now, and where.

A shard splits or is rolled over every few hours: it closes, and its children go on. The rules:

* A child starts when its parent has been read to the end; that is what keeps an item's changes in
  order. Of unrelated shards all may be read at once.
  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
* The listing is eventually consistent. A parent that it lacks is a parent not listed yet, until the
  service has been asked for it by name and denied it for long enough (`unlisted`, `confirm_gone`).
* A closed shard without a child is one whose child is not listed yet (`childless`).
* LATEST holds for the shards that are open when the reading begins. What is found later begins at
  TRIM_HORIZON, or a change written in between would be lost.
* A shard with children is closed, even where the listing still shows it open.
* Changes that were held when a run ended come again in the next one. So what is below the shard in which
  they are waits for its end, also what an earlier run had begun or ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from rxddbstream.model.events import Gap
from rxddbstream.model.position import After, AtTime, Latest, Position, TrimHorizon
from rxddbstream.model.shard import Shard, outlived_retention

ABSENT_FOR = timedelta(minutes=10)  # until a shard that is listed no more is taken for gone


class Ready(NamedTuple):
    """A shard that may start now.

    Attributes:
        shard: the shard.
        position: where to begin.
        predecessor: the ID of the shard that is read before it, if there is one; see `Lineage.predecessor`.
    """

    shard: Shard
    position: Position
    predecessor: str | None = None


class Lineage:
    """Knows the shards of one stream, and in which order one consumer may read them.

    Args:
        start: where the consumer begins.
        began: the service's time of its first listing, in its first run.
        kept: where an earlier run of it stopped, by shard ID; None stands for a shard's end. What it
            has no position for has not been read.

    >>> from datetime import UTC
    >>> lineage = Lineage(TrimHorizon(), began=datetime.now(UTC))
    >>> lineage.observe([Shard("child", parent_id="parent"), Shard("parent")])
    >>> [ready.shard.id for ready in lineage.take_ready()]
    ['parent']
    >>> lineage.end("parent")
    >>> [ready.shard.id for ready in lineage.take_ready()]
    ['child']
    """

    def __init__(
        self,
        start: Position,
        *,
        began: datetime,
        kept: Mapping[str, Position | None] | None = None,
    ) -> None:
        self._start = start
        self._began = began
        self._kept = dict(kept or {})
        self._shards: dict[str, Shard] = {}
        self._waiting: defaultdict[str, list[Shard]] = defaultdict(list)  # by the parent's ID
        self._ready: list[Ready] = []
        self._reading: set[str] = set()
        self._ended = {shard_id for shard_id, position in self._kept.items() if position is None}
        self._stopped_in = self._kept.keys() - self._ended  # and not found yet
        self._resuming = set(self._stopped_in)  # and not read to the end yet
        self._gone: set[str] = set()
        self._parents: set[str] = set()
        self._childless: set[str] = set()
        self._absent: dict[str, datetime] = {}  # since when
        self._first_listing = True

    def observe(self, shards: Iterable[Shard]) -> None:
        """Take in a listing. The first one must be whole; later ones may be any part of it."""
        found = list({shard.id: shard for shard in shards if shard.id not in self._shards}.values())
        for shard in found:
            self._shards[shard.id] = shard
            if shard.parent_id is not None:
                self._parents.add(shard.parent_id)
                self._childless.discard(shard.parent_id)
        first, self._first_listing = self._first_listing, False
        if first and isinstance(self._start, Latest):
            self._ended |= self._parents  # listed or not: what has a child takes no more changes
        for shard in found:
            if first:
                self._admit_first(shard)
            else:
                self._admit(shard)

    def take_ready(self) -> list[Ready]:
        """The shards that may start now and where; each is given out once."""
        ready, self._ready = self._ready, []
        self._reading.update(start.shard.id for start in ready)
        return [start._replace(predecessor=self.predecessor(start.shard)) for start in ready]

    def end(self, shard_id: str, *, short: bool = False) -> None:
        """The shard has been read to its end, and all of it has been delivered.

        Args:
            short: what is left of it, and what continues it, is not to be read.
        """
        self._reading.discard(shard_id)
        self._resuming.discard(shard_id)
        self._ended.add(shard_id)
        if shard_id not in self._parents and not short:
            self._childless.add(shard_id)
        self._release(shard_id)

    def unlisted(self) -> list[str]:
        """Shards that no listing has shown: where a run stopped, and parents that hold back a child."""
        unlisted = (self._waiting.keys() | self._stopped_in) - self._shards.keys()
        # Those with a position first: a loss is told from where it begins.
        return sorted(unlisted, key=lambda shard_id: (shard_id not in self._stopped_in, shard_id))

    def was_stopped_in(self, shard_id: str) -> bool:
        """Whether an earlier run stopped in a shard that no listing has shown."""
        return shard_id in self._stopped_in

    def confirm_gone(self, shard_id: str, now: datetime) -> Gap | None:
        """The service denies, at `now`, that it has this shard: its children are orphans, and may start.

        Returns:
            The loss, if it may be one: of a shard in which an earlier run stopped, or one that came and
            went unread. A parent that was gone when the reading began is none.
        """
        lost = shard_id in self._stopped_in or outlived_retention(self._began, now)
        after = self._kept.get(shard_id)
        self._stopped_in.discard(shard_id)
        self._resuming.discard(shard_id)
        self._gone.add(shard_id)
        self._release(shard_id)
        if not lost:
            return None
        number = after.sequence_number if isinstance(after, After) else None
        return Gap(shard_id, number, f"what follows {number or 'its beginning'} was in a shard that is gone")

    def predecessor(self, shard: Shard) -> str | None:
        """The shard that is read before this one: its parent, or the nearest ancestor that is not done.

        What an earlier run has read to the end is not read again, though what it continues may be: a window
        was open there.
        """
        parent_id, passed = shard.parent_id, {shard.id}
        while parent_id in self._kept and self._kept[parent_id] is None and parent_id not in passed:
            passed.add(parent_id)
            parent_id = self._shards[parent_id].parent_id if parent_id in self._shards else None
        return parent_id

    def childless(self) -> list[str]:
        """Shards read to the end whose children have not been listed yet."""
        return list(self._childless)

    def stop_asking_for_children(self, shard_id: str) -> None:
        """The service has dropped this shard: a child of it that still turns up will do so in a listing."""
        self._childless.discard(shard_id)

    def forget_all_but(self, listed: Iterable[str], now: datetime) -> set[str]:
        """Drop what whole listings have lacked for `ABSENT_FOR`, so that a long run stays small; what it was.

        Not what one or two lack: a shard that is forgotten and then listed again would be read again. Should
        a child of a forgotten shard turn up, it is an orphan, and handled so.

        Args:
            listed: what a whole listing has.
            now: the service's time of it.
        """
        kept = set(listed) | self._reading | self._childless | {ready.shard.id for ready in self._ready}
        kept.update(shard.id for family in self._waiting.values() for shard in family)
        kept |= {shard.parent_id for key, shard in self._shards.items() if key in kept and shard.parent_id}
        absent = (self._shards.keys() | self._ended | self._kept.keys()) - kept - self._stopped_in
        self._absent = {shard_id: self._absent.get(shard_id, now) for shard_id in absent}
        forgotten = {shard_id for shard_id, since in self._absent.items() if now - since >= ABSENT_FOR}
        for shard_id in forgotten:
            self._shards.pop(shard_id, None)
            self._ended.discard(shard_id)
            self._kept.pop(shard_id, None)
            del self._absent[shard_id]
        self._parents = {shard.parent_id for shard in self._shards.values() if shard.parent_id}
        self._gone &= self._parents
        return forgotten

    @property
    def is_empty(self) -> bool:
        """Whether no listing has shown any shard yet: a stream that was enabled just now."""
        return not self._shards

    @property
    def is_idle(self) -> bool:
        """Whether all known shards have been read to the end."""
        return not (self._ready or self._reading or self._waiting or self.unlisted())

    def _admit_first(self, shard: Shard) -> None:
        if not isinstance(self._start, Latest):
            self._admit(shard)
        elif shard.is_closed or shard.id in self._parents:
            self.end(shard.id)
        else:
            self._ready.append(Ready(shard, self._start))

    def _admit(self, shard: Shard) -> None:
        # A stop above goes first: what is held there comes again, and until then not even a shard that was
        # read to its end may let its children start. Then its own end, which needs no parent any more. Then
        # the parent; but a run that stopped in the shard itself was done with the parent, listed or not.
        parent_id = shard.parent_id
        if parent_id is not None and self._is_below_a_stop(shard):
            self._waiting[parent_id].append(shard)
        elif shard.id in self._ended:
            self._finish_parent(shard)
            self.end(shard.id)
        elif parent_id is None or parent_id in self._ended or parent_id in self._gone:
            self._make_ready(shard)
        elif shard.id in self._stopped_in:
            self._finish_parent(shard)
            self._make_ready(shard)
        else:
            self._waiting[parent_id].append(shard)

    def _finish_parent(self, shard: Shard) -> None:
        # A shard that was begun, or passed over, has a parent that is done with; it may be listed later.
        if shard.parent_id is not None and shard.parent_id not in self._resuming | self._reading:
            self._ended.add(shard.parent_id)

    def _release(self, parent_id: str) -> None:
        for shard in self._waiting.pop(parent_id, ()):
            self._admit(shard)

    def _is_below_a_stop(self, shard: Shard) -> bool:
        above = {shard.id}  # so that a shard that is its own ancestor does not loop
        while self._resuming and shard.parent_id is not None and shard.parent_id not in above:
            if shard.parent_id in self._resuming:
                return True
            above.add(shard.parent_id)
            if shard.parent_id not in self._shards:
                return False
            shard = self._shards[shard.parent_id]
        return False

    def _make_ready(self, shard: Shard) -> None:
        # A time holds for every shard: old shards found late have older changes, too.
        position = self._start if isinstance(self._start, AtTime) else TrimHorizon()
        self._stopped_in.discard(shard.id)
        self._ready.append(Ready(shard, self._kept.get(shard.id) or position))
