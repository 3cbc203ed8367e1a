"""Where a consumer begins to read: which time "latest" and a start stand for is decided here, once.

* LATEST is a place only at the moment at which the service is asked for it. Wherever that moment must be
  named again, it is the service's time of the run's first listing: in a checkpoint, for a new iterator. Where
  the first answers came after `subscribe` had returned, it is the time of subscribing.
* LATEST holds for the shards that are open then. What was closed by then is done, and what is found later
  begins at its oldest change: that is up to `lineage.py`.
* What an earlier run has kept comes before what this one is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rxddbstream.model.position import AtTime, Latest, Position
from rxddbstream.model.shard import RETENTION, Shard


@dataclass(frozen=True, slots=True)
class Kept:
    """What a consumer has kept of its runs so far; all of it is None or empty before the first one.

    Attributes:
        start: where shards without a position begin.
        began: the service's time of the first run's first listing.
        seen: when the consumer was last alive, by the service's time.
        windows: up to which end, in seconds since the epoch, a window operator had emitted its windows, by
            the operator's name.
        watermarks: in place of that, what earlier versions kept: the watermark at which it had.
        shards: where reading goes on, by the shard's ID; None stands for the shard's end.
    """

    start: Position | None = None
    began: datetime | None = None
    seen: datetime | None = None
    windows: Mapping[str, float] = field(default_factory=dict)
    watermarks: Mapping[str, float] = field(default_factory=dict)
    shards: Mapping[str, Position | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where one run of a consumer begins. Times are the service's.

    Attributes:
        start: where shards begin of which no position is kept.
        listed_at: the time of the run's first listing.
        began: the same of the consumer's first run.
        closed_before: the IDs of the shards that were listed as closed when the consumer began.
        last_answers: when an earlier run was last answered, by the IDs of the shards of which it may have
            missed something since.
    """

    start: Position
    listed_at: datetime
    began: datetime
    closed_before: Collection[str] = ()
    last_answers: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: Position, kept: Kept, shards: Sequence[Shard], listed_at: datetime) -> Beginning:
        """Where to begin, once the shards were listed.

        Args:
            asked: where the first run is to begin.
            shards: all that are listed.

        >>> from datetime import UTC
        >>> noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
        >>> beginning = Beginning.of(Latest(), Kept(), [Shard("shard-1")], noon)
        >>> beginning.fixed(beginning.start)
        AtTime(time=datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.timezone.utc))
        """
        began = kept.began or listed_at
        return cls(
            start=kept.start or asked,
            listed_at=listed_at,
            began=began,
            closed_before={shard.id for shard in shards if shard.is_closed and began == listed_at},
            last_answers=dict.fromkeys(_resumed(kept.shards, shards), kept.seen) if kept.seen else {},
        )

    def answered_late(self, after: timedelta) -> Beginning:
        """The same where the first listing came so long after `subscribe` had returned.

        LATEST would skip what was written since. By the service's clock: ours may be off.
        """
        if not isinstance(self.start, Latest):
            return self
        subscribed = self.listed_at - after
        # Of a shard that was closed by the listing nobody knows whether it was when the consumer began.
        closed_before = () if after else self.closed_before
        return replace(self, start=AtTime(subscribed), began=subscribed, closed_before=closed_before)

    def last_answer(self, shard_id: str, now: datetime) -> datetime:
        """Until when nothing of the shard was lost unseen: when it was last answered of, or now."""
        return self.last_answers.get(shard_id, now)

    def read_up_to(self, position: Position) -> datetime | None:
        """Up to when there is nothing to read of a shard that begins there; None when that is not known."""
        fixed = self.fixed(position)
        return fixed.time if isinstance(fixed, AtTime) else None

    def lag(self, shard_id: str, read_up_to: datetime | None, now: datetime) -> float:
        """How many seconds a shard is behind of which nothing was read yet.

        Where nothing is known of it, that is since the run before; without one, all that the service keeps.
        """
        since = read_up_to or self.last_answers.get(shard_id) or now - RETENTION
        return max(0.0, (now - since).total_seconds())

    @property
    def latest(self) -> AtTime:
        """What LATEST means in this run, wherever it is not asked for at once."""
        return AtTime(self.listed_at)

    def fixed(self, position: Position) -> Position:
        """The position as one that means the same place each time."""
        return self.latest if isinstance(position, Latest) else position

    def to_keep(self, shards: Sequence[Shard], opened: Mapping[str, Position]) -> Kept:
        """What is to be kept before anything is read, for a crash must not turn into a second "latest".

        Args:
            shards: all that are listed.
            opened: where those begin that are read first, by their IDs.
        """
        positions: dict[str, Position | None] = {}
        if isinstance(self.start, Latest):
            # Of the others, which are closed, nothing is to be read, in no later run either.
            positions = dict.fromkeys(shard.id for shard in shards)
            positions |= {shard_id: self.fixed(position) for shard_id, position in opened.items()}
        return Kept(start=self.fixed(self.start), began=self.began, shards=positions)


def _resumed(kept: Mapping[str, Position | None], shards: Sequence[Shard]) -> set[str]:
    """Shards of which something may have been missed since the last run, and no other shard would tell.

    They are those that were being read, and those that came since. A shard whose parent is still to be
    read is no older than what the service keeps.
    """
    to_be_read = {shard.id for shard in shards if kept.get(shard.id, shard) is not None}
    stopped_in = {shard_id for shard_id, position in kept.items() if position is not None}
    return stopped_in | {shard.id for shard in shards if shard.parent_id not in to_be_read}
