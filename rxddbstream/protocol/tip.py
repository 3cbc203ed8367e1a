"""When one shard counts as read up to now: a page without records is not enough.

No answer says how far behind it is, and GetRecords may take several calls to come to the part of a shard that
has records: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html

* A reading is at the tip when it is known to have come to within `NEAR` of the service's time: it began at
  LATEST, or at so late a time; or the last change was made so late; or the shard that this one continues was
  read so far.
* It is not any more when a page brings what was written before an empty one.
* Of any other reading nothing is known. `EMPTY_PAGES_AT_TIP` empty pages in a row are taken for the tip.
  That is a guess, and one must be made: a shard that nobody writes to never gives more. A closed one has an
  end: there is nothing to guess.
* A bounded read ends for good. It asks without waiting, and takes `EMPTY_PAGES_AT_END` empty pages for the
  end, or `EMPTY_PAGES_WHEN_NEAR` where it is known to be at the tip.
* At the tip a shard has nothing new when `EMPTY_PAGES_WHEN_QUIET` pages over `QUIET_FOR` were empty; a page
  may be empty because the service was slow.
* A reading whose last change is older is behind, and asks at once until it has had so many. So does one whose
  iterator expired, until it has had `EMPTY_PAGES_WHEN_LATE`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rxddbstream.model.times import SETTLING

EMPTY_PAGES_AT_TIP = 30
EMPTY_PAGES_AT_END = 100
EMPTY_PAGES_WHEN_NEAR = 20
EMPTY_PAGES_WHEN_LATE = 4
EMPTY_PAGES_WHEN_QUIET = 4
QUIET_FOR = timedelta(seconds=2)
NEAR = timedelta(seconds=10)  # a shard with changes is asked each 5 s at least; more for a busy consumer
UNKNOWN_TIP_IS_PATIENT = 8  # times as long until a shard that was not caught up with is asked less


class Tip:
    """How close one shard's reading is to its tip. Times are the service's.

    Args:
        read_up_to: up to when nothing of the shard is left to read; None when that is not known.
        now: the present.
        may_guess: whether the shard may be open.

    Attributes:
        read_up_to: the same by now.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    >>> unknown, latest = Tip(None, noon), Tip(noon, noon)
    >>> for second in range(4):
    ...     unknown.empty_page(noon + timedelta(seconds=second))
    ...     latest.empty_page(noon + timedelta(seconds=second))
    >>> unknown.is_quiet, latest.is_quiet
    (False, True)
    """

    __slots__ = (
        "_answered_at",
        "_asked_at_once",
        "_empty_pages",
        "_empty_since",
        "_is_guess",
        "_may_guess",
        "_seen",
        "read_up_to",
    )

    def __init__(self, read_up_to: datetime | None, now: datetime, *, may_guess: bool = True) -> None:
        self.read_up_to = read_up_to
        self._may_guess = may_guess
        self._seen = read_up_to is not None and now - read_up_to <= NEAR
        self._is_guess = False
        self._asked_at_once = 0  # after how many empty pages in a row it does not wait
        self._empty_pages = 0
        self._empty_since = self._answered_at = now

    def records(self, first: datetime | None, last: datetime | None, answered_at: datetime) -> None:
        """A page had records.

        Args:
            first, last: when its first and its last change were made; None when they do not say.
        """
        if last is not None:
            is_new = first is not None and first >= self._answered_at - timedelta(seconds=SETTLING)
            is_near = answered_at - last <= NEAR
            self._seen = is_near or (self._seen and self._empty_pages > 0 and is_new)
            self._is_guess = self._is_guess and not is_near
            self._asked_at_once = 0 if self._seen else EMPTY_PAGES_AT_TIP
            self.read_up_to = last
        self._empty_pages = 0

    def empty_page(self, answered_at: datetime) -> None:
        """A page had none."""
        if not self._empty_pages:
            self._empty_since = answered_at
        self._empty_pages += 1
        self._answered_at = answered_at
        is_likely = self._empty_pages >= EMPTY_PAGES_AT_TIP and self._has_been_quiet
        if self._may_guess and not self._seen and is_likely:
            self._seen, self._is_guess, self._asked_at_once = True, True, 0
        if self.is_quiet:
            self.read_up_to = answered_at - timedelta(seconds=SETTLING)

    def iterator_expired(self) -> None:
        """The next one must be used at once, or it expires before it comes to the records."""
        self._seen, self._empty_pages = False, 0
        self._asked_at_once = max(self._asked_at_once, EMPTY_PAGES_WHEN_LATE)

    @property
    def is_seen(self) -> bool:
        """Whether the reading was at the tip, by the last answer."""
        return self._seen

    @property
    def is_end(self) -> bool:
        """Whether a bounded read may end: all that was written is taken to have been read."""
        is_known = self._seen and not self._is_guess
        return self._empty_pages >= (EMPTY_PAGES_WHEN_NEAR if is_known else EMPTY_PAGES_AT_END)

    @property
    def is_quiet(self) -> bool:
        """Whether the shard is known to have nothing new by the last answer; before, it may just seem so."""
        return self._seen and self._empty_pages >= EMPTY_PAGES_WHEN_QUIET and self._has_been_quiet

    def idle_steps(self, *, in_a_hurry: bool) -> int:
        """How far the wait between two calls has grown: 0 is none, 1 the shortest, then each doubles it.

        It grows with how long the shard has had nothing, not with how often it was asked: where records lie
        behind empty pages, those are soon passed.

        Args:
            in_a_hurry: whether the reading ends at the tip, and is to come there.
        """
        if self._empty_pages <= (EMPTY_PAGES_AT_END if in_a_hurry else self._asked_at_once):
            return 0
        seconds = int((self._answered_at - self._empty_since).total_seconds())
        patience = 1 if self._seen else UNKNOWN_TIP_IS_PATIENT
        return max(1, (max(0, seconds) // patience).bit_length())

    @property
    def _has_been_quiet(self) -> bool:
        return self._answered_at - self._empty_since >= QUIET_FOR
