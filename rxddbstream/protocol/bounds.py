"""Which of a shard's changes are asked for: those since a time, and up to a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import dropwhile

from rxddbstream.model.change import Change, has_sound_time
from rxddbstream.model.position import AtTime


@dataclass(frozen=True, slots=True)
class End:
    """Where a bounded read ends: with what was written before the run's first listing.

    Attributes:
        until: the service's time to end at instead: it is waited for, and all that there is then is read.
    """

    until: datetime | None = None


@dataclass(slots=True)
class Bounds:
    """The bounds of one shard's reading. A change without a time to go by is always within.

    Attributes:
        not_before: leave out what is older, until the first change that is not; None: nothing.
        until: leave out what is newer; None: nothing.
    """

    not_before: AtTime | None = None
    until: datetime | None = None

    def cut(self, changes: list[Change]) -> tuple[list[Change], bool]:
        """What of a page is within the bounds, and whether the rest of the shard is beyond them."""
        start = self.not_before
        if start is not None:
            changes = list(dropwhile(lambda change: _is_before(start, change), changes))
            if changes:
                self.not_before = None  # a shard is in order of time: the rest is newer
        # A look at the last one is enough for most pages: it is the newest.
        if self.until is not None and changes and _is_after(self.until, changes[-1]):
            for index, change in enumerate(changes):
                if _is_after(self.until, change):
                    return changes[:index], True
        return changes, False


def _is_before(start: AtTime, change: Change) -> bool:
    return has_sound_time(change) and not start.includes(change.created_at)


def _is_after(time: datetime, change: Change) -> bool:
    return has_sound_time(change) and change.created_at > time
