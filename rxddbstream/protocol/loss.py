"""When one shard's reading has lost something: what the service dropped before it was read.

* What was asked for is older than what the service keeps: the service says so of a sequence number.
  TRIM_HORIZON and a time move up with what it drops, without a word: when there was no answer for as long as
  it keeps changes, some may have been lost.
* What is trimmed was written a day before. So it is no loss where nothing that old is left to read: the shard
  continues one that was read further than that, or had nothing at its tip since. DynamoDB Local calls the
  first change of an empty shard trimmed.
* A shard that is denied for good is a loss, unless all that it can have held was written before the
  consumer began. The service keeps a closed shard for 24 hours. So one that it listed as closed when the
  consumer began, and that is gone within 24 hours, had closed a day before; DynamoDB Local lists such
  shards for a while. Of any other that is gone so soon, nobody knows what was in it.
* A loss is told once, until the service answers with a page again.
"""

from __future__ import annotations

from datetime import datetime

from rxddbstream.model.events import Gap
from rxddbstream.model.position import After, Position
from rxddbstream.model.shard import outlived_retention
from rxddbstream.protocol.beginning import Beginning


class Losses:
    """The losses of one shard's reading. `last_read` is the sequence number of the last record, if any.

    Args:
        shard_id: the shard.
        beginning: where the run begins.
    """

    __slots__ = ("_beginning", "_shard_id", "_was_told")

    def __init__(self, shard_id: str, beginning: Beginning) -> None:
        self._shard_id = shard_id
        self._beginning = beginning
        self._was_told = False

    def answered(self) -> None:
        """There was a page: what is lost from now on is another loss."""
        self._was_told = False

    def trimmed(self, last_read: str | None, read_up_to: datetime | None, now: datetime) -> Gap | None:
        """What was asked for is older than what the service keeps; the loss, if it is to be told."""
        was_read = read_up_to is not None and not outlived_retention(read_up_to, now)
        if self._was_told or (was_read and last_read is None):
            return None
        return self._loss("is older than what the service keeps", last_read, now)

    def gone(self, last_read: str | None, now: datetime) -> Gap | None:
        """The shard is denied for good."""
        is_missed = self._shard_id not in self._beginning.closed_before
        return self._loss("was in a shard that is gone", last_read, now, is_missed)

    def silent(self, position: Position, since: datetime, last_read: str | None, now: datetime) -> Gap | None:
        """The first answer since then."""
        if isinstance(position, After) or not outlived_retention(since, now):
            return None
        return self._loss("was not asked for in the 24 hours that the service keeps it", last_read, now)

    def _loss(self, what: str, last_read: str | None, now: datetime, is_missed: bool = False) -> Gap | None:
        if last_read is None and not is_missed and not outlived_retention(self._beginning.began, now):
            return None
        self._was_told = True
        return Gap(self._shard_id, last_read, f"what follows {last_read or 'its beginning'} {what}")
