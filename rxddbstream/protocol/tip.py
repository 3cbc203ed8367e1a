"""When one shard counts as read up to now: a page without records is not enough.

* An empty page is not the tip of a shard. `EMPTY_PAGES_AT_TIP` in a row are taken for it.
* That a shard has nothing new is believed after `EMPTY_PAGES_WHEN_QUIET` empty pages over `QUIET_FOR`; a page
  may be empty because the service was slow.
* A shard whose iterator expired is late, and is asked as often as may be until it is at its tip again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

EMPTY_PAGES_AT_TIP = 20
EMPTY_PAGES_WHEN_LATE = 4
EMPTY_PAGES_WHEN_QUIET = 4
QUIET_FOR = timedelta(seconds=2)


class Tip:
    """How close one shard's reading is to its tip, by the pages in a row that were empty.

    Args:
        seen: whether it begins there.

    >>> from datetime import UTC
    >>> tip, noon = Tip(seen=False), datetime(2026, 1, 31, 12, tzinfo=UTC)
    >>> for second in range(20):
    ...     tip.empty_page(noon + timedelta(seconds=second))
    >>> tip.is_reached, tip.quiet_until(noon + timedelta(seconds=19)).second
    (True, 19)
    """

    __slots__ = ("_empty_pages", "_empty_since", "_is_late", "_seen")

    def __init__(self, *, seen: bool) -> None:
        self._seen = seen
        self._is_late = False
        self._empty_pages = 0
        self._empty_since: datetime | None = None

    def records(self) -> None:
        """A page had records."""
        self._empty_pages = 0

    def empty_page(self, answered_at: datetime) -> None:
        """A page had none."""
        if not self._empty_pages:
            self._empty_since = answered_at
        self._empty_pages += 1
        if self.is_reached:
            self._seen, self._is_late = True, False

    def iterator_expired(self) -> None:
        """The next one must be used at once, or it expires before it comes to the records."""
        self._is_late, self._empty_pages = True, 0

    @property
    def is_reached(self) -> bool:
        """Whether all that was written is taken to have been read."""
        return self._empty_pages >= EMPTY_PAGES_AT_TIP

    def quiet_until(self, answered_at: datetime) -> datetime | None:
        """Until when the shard is known to have had nothing new; None while it may just seem so.

        Args:
            answered_at: the service's time of the last page.
        """
        since = self._empty_since
        if since is None or self._empty_pages < EMPTY_PAGES_WHEN_QUIET or answered_at - since < QUIET_FOR:
            return None
        return answered_at

    def idle_pages(self, *, is_end: bool) -> int:
        """Empty pages in a row, as far as they say that the shard is quiet; what pacing goes by.

        Args:
            is_end: whether reading ends at the tip, and is in a hurry to come there.
        """
        if is_end:
            return max(0, self._empty_pages - EMPTY_PAGES_AT_TIP)
        if self._is_late:
            return max(0, self._empty_pages - EMPTY_PAGES_WHEN_LATE)
        # There may be records behind empty pages: until the tip has been seen, slow down half as fast.
        return self._empty_pages if self._seen else (self._empty_pages + 1) // 2
