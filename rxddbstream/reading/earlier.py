"""The streams that a table had before: what is left of them is read first.

A stream that is disabled can be read for 24 hours more. Enabled again, the table has a new one, of another
ARN, and what a consumer keeps of the old one does not hold for it. So a consumer that was given the table,
and keeps checkpoints, reads the old stream to its end first, and the new one from its first change on::

    old stream   -a-b-c-d|                       (consumer away from b on)
    new stream               -e-f-g-h-
    second run               --c-d---e-f-g-h-
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from reactivex import Observer, abc
from reactivex.disposable import SerialDisposable

from rxddbstream.aws.client import StreamClient
from rxddbstream.errors import StreamNotFound
from rxddbstream.model.events import Gap
from rxddbstream.model.position import After, TrimHorizon
from rxddbstream.protocol.beginning import Kept
from rxddbstream.reading.delivery import ShardStream
from rxddbstream.scheduling.coroutine import Wait

LOOK_AGAIN = 60.0  # seconds; its end wakes who waits for it


class Reading(NamedTuple):
    """A subscription to one stream to its end.

    Attributes:
        subscription: ends it.
        kept: what earlier runs had kept of the stream.
        is_all_done: whether nothing of it is left, nor held.
    """

    subscription: abc.DisposableBase
    kept: Callable[[], Kept]
    is_all_done: Callable[[], bool]


ReadToEnd: TypeAlias = Callable[[StreamClient, abc.ObserverBase[ShardStream]], Reading]
"""Subscribes to a stream that was replaced."""


class EarlierStreams:
    """Reads them.

    Args:
        read_to_end: subscribes to one.
        observer: gets their shards.
    """

    def __init__(self, read_to_end: ReadToEnd, observer: abc.ObserverBase[ShardStream]) -> None:
        self._read_to_end = read_to_end
        self._observer = observer
        self._subscription = SerialDisposable()

    def dispose(self) -> None:
        """Read no more."""
        self._subscription.dispose()

    def read(self, client: StreamClient, wake: Callable[[], None]) -> Generator[Wait, None, Outcome]:
        """Read one to its end.

        Args:
            client: the stream.
            wake: to be called at its end.

        Returns:
            Whether nothing of it is left, and what was lost because the service has it no more.

        Raises:
            Exception: what the reading ended with.
        """
        ended: list[Exception | None] = []

        def end(error: Exception | None = None) -> None:
            ended.append(error)
            wake()

        reading = self._read_to_end(client, Observer(self._observer.on_next, end, end))
        self._subscription.disposable = reading.subscription
        while not ended:
            yield Wait(LOOK_AGAIN, until_woken=True)
        is_all_done = reading.is_all_done()
        self._subscription.disposable = None
        match ended[0]:
            case StreamNotFound():
                return Outcome(True, list(_losses(reading.kept())))
            case None:
                return Outcome(is_all_done, [])
            case error:
                raise error


class Outcome(NamedTuple):
    """How the reading of an earlier stream has ended.

    Attributes:
        is_over: whether nothing of it is left to read.
        gaps: what was lost.
    """

    is_over: bool
    gaps: list[Gap]


def all_of(arn: str) -> Kept:
    """What to begin with where all of a stream is wanted, for the table's stream before was read.

    Its label tells since when there is something to miss.
    """
    try:
        enabled = datetime.fromisoformat(arn.rpartition("/")[2])
    except ValueError:  # of a stand-in
        return Kept(start=TrimHorizon())
    enabled = enabled if enabled.tzinfo else enabled.replace(tzinfo=UTC)
    return Kept(start=TrimHorizon(), began=enabled, seen=enabled)


def _losses(kept: Kept) -> Iterator[Gap]:
    """What may have been lost with a stream that the service has no more."""
    if kept.start is None:
        return  # it was never begun
    left = {shard_id: position for shard_id, position in kept.shards.items() if position is not None}
    # Where all that is kept was read to its end, something may have come after it.
    for shard_id in sorted(left) or [max(kept.shards, default="unknown")]:
        position = left.get(shard_id)
        number = position.sequence_number if isinstance(position, After) else None
        yield Gap(
            shard_id,
            number,
            f"what follows {number or 'what was read of it'} was in a stream that was switched off and is "
            "gone; the table has another one",
        )
