"""What the shards of one subscription share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from rxddbstream.aws.client import StreamClient
from rxddbstream.checkpoints.writer import Writer
from rxddbstream.errors import DataTrimmed
from rxddbstream.model.events import Gap
from rxddbstream.model.shard import Shard
from rxddbstream.protocol.beginning import Beginning
from rxddbstream.reading.events import EventSink
from rxddbstream.reading.options import ReadOptions
from rxddbstream.reading.progress import Progress
from rxddbstream.reading.turns import Turns

log = logging.getLogger("rxddbstream")


class ShardListener(Protocol):
    """Who is told how the reading of a shard has ended, on the thread that read it."""

    def ended(self, shard: Shard, short: bool) -> None:
        """It was read to its end, and all of it was delivered.

        Args:
            short: whether a bounded read ended before the shard did.
        """

    def failed(self, error: BaseException) -> None:
        """It has an error that its observer can be told no more."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What the shards of one subscription share.

    Attributes:
        client: the stream.
        options: how it is read.
        beginning: where the run begins.
        progress: how far the subscription has come.
        events: who is told of what happens beside the data.
        turns: whose turn it is to call.
        writer: of the checkpoints, if any are kept.
        listener: who is told of a shard's end.
    """

    client: StreamClient
    options: ReadOptions
    beginning: Beginning
    progress: Progress
    events: EventSink
    turns: Turns
    writer: Writer | None
    listener: ShardListener

    def report(self, gap: Gap) -> DataTrimmed | None:
        """Tell of a loss; the error to end with, None to go on."""
        loss = report(gap, self.client.arn, self.options, self.events)
        if loss is not None and self.writer is not None:
            self.writer.stop_sign_of_life()  # so that each later run says it again
        return loss


def report(gap: Gap, arn: str, options: ReadOptions, events: EventSink) -> DataTrimmed | None:
    """Tell of a loss in this stream; the error to end with, None to go on."""
    events.emit(gap)
    message = f"shard {gap.shard_id} of {arn}: changes were lost: {gap.reason}"
    if options.on_gap == "skip":
        log.warning("%s", message)
        return None
    return DataTrimmed(
        f"{message}. Pass on_gap='skip' to go on with what is left; a consumer must not be away for "
        "longer than the 24 hours that the service keeps changes",
        gap.shard_id,
        gap.after,
    )
