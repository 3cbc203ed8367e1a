"""When a doubtful answer about one shard is believed.

* An answer with neither records nor a next iterator is what botocore makes of a body that was cut. It is
  asked for again, and believed only of a shard that the listing says is closed.
* A shard that is new may not be readable yet: ResourceNotFoundException is believed when it comes
  `DENIALS_BELIEVED` times in a row, over `DENIED_FOR`. That the listing lacks the shard proves nothing: it
  may be late. So it is for a parent that no listing has shown, too, which discovery asks for by name.
* A shard that was read before is readable: when it is denied it is gone, unless the listing shows it open.
  To wait would lose more, for what continues it is dropped meanwhile.

One that listings have lacked for long is forgotten: see `lineage.py`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

# With the waits between them it takes about ten to come to `DENIED_FOR`. Fewer than five are not believed
# even where the service's clock jumps.
DENIALS_BELIEVED = 5
DENIED_FOR = timedelta(seconds=20)
CUT_ANSWERS_BELIEVED = 100  # ten came in a row by chance where three answers in five were cut


class Doubt:
    """The doubtful answers about one shard that came in a row.

    Args:
        was_read: whether there was a page of the shard before, be it in an earlier run.
    """

    __slots__ = ("_cut_answers", "_denials", "_denied_since", "_faults", "_was_read")

    def __init__(self, *, was_read: bool = False) -> None:
        self._was_read = was_read
        self._cut_answers = 0
        self._denials = 0
        self._denied_since: datetime | None = None
        self._faults = 0  # the first is no cause to wait

    def answered(self) -> None:
        """There was a page: no doubt is left."""
        self._was_read = True
        self._cut_answers = self._denials = self._faults = 0

    def cut(self) -> None:
        """An answer had neither records nor a next iterator."""
        self._denials = 0
        self._cut_answers += 1

    def denied(self, now: datetime) -> None:
        """The service does not know the shard."""
        self._cut_answers = 0
        if not self._denials:
            self._denied_since = now
        self._denials += 1

    def expired(self) -> None:
        """The iterator had expired."""
        self._cut_answers = 0
        self._faults += 1

    def trimmed(self) -> None:
        """What was asked for is older than what the service keeps."""
        self._faults += 1

    @property
    def in_a_row(self) -> int:
        """How many, to wait longer after each."""
        return max(self._cut_answers, self._denials, self._faults - 1)

    @property
    def is_denied(self) -> bool:
        """Whether the last answer was a denial."""
        return self._denials > 0

    @property
    def is_cut_again(self) -> bool:
        """Whether the answer was cut for more than once."""
        return self._cut_answers > 1

    @property
    def is_end_believed(self) -> bool:
        """Whether so many cut answers are no chance, if the shard is closed."""
        return self._cut_answers >= CUT_ANSWERS_BELIEVED

    def is_worth_a_look(self, now: datetime) -> bool:
        """Whether to look the shard up after a denial: at first, and when it is about to be believed.

        A look-up may take many calls, and would tell nothing new in between.
        """
        return self._denials == 1 or self.is_gone(now)

    def is_gone(self, now: datetime, *, is_listed_open: bool = True) -> bool:
        """Whether the denials are believed.

        Args:
            is_listed_open: whether the listing may show the shard open.
        """
        if self.is_denied and self._was_read and not is_listed_open:
            return True
        since = self._denied_since
        return self._denials >= DENIALS_BELIEVED and since is not None and now - since >= DENIED_FOR
