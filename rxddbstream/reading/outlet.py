"""Where shards go once they may be read: into this process, or shared out among several.

Discovery decides *who may start* and hands each shard to an outlet, which tells it when the shard was read to
its end. In one process the outlet is a call: `LocalOutlet` reads the shard here. A table of leases,
for several processes that share a stream, can stand in the same place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeAlias

from reactivex import abc

from rxddbstream.aws.client import StreamClient
from rxddbstream.checkpoints.guard import Subscriber
from rxddbstream.checkpoints.streams import Earlier, leave_stream, streams_before
from rxddbstream.checkpoints.writer import Writer
from rxddbstream.errors import DataTrimmed, StreamError
from rxddbstream.model.events import Gap
from rxddbstream.model.shard import Shard
from rxddbstream.protocol.beginning import Beginning, Kept
from rxddbstream.protocol.lineage import Ready
from rxddbstream.reading.delivery import ShardStream
from rxddbstream.reading.earlier import all_of
from rxddbstream.reading.events import EventSink
from rxddbstream.reading.options import ReadOptions
from rxddbstream.reading.polling import pages
from rxddbstream.reading.progress import Progress
from rxddbstream.reading.readers import Readers
from rxddbstream.reading.subscription import Subscription, report
from rxddbstream.reading.turns import Turns

log = logging.getLogger("rxddbstream")

Ended: TypeAlias = Callable[[Shard, bool], None]
"""Is told that a shard was read to its end; and whether a bounded read stopped short of that."""


class Outlet(Protocol):
    """Where discovery hands the shards that may be read.

    It is called one at a time: `earlier`, then `load`, then `begin`, then the others as often as need be,
    `flush` at last. `close` may come at any point, from any thread. A call that fails with a `TransientError`
    is made again.
    """

    def earlier(self, client: StreamClient) -> Sequence[str]:
        """The stream was found; the ARNs of those that its table had before, if something is left of them."""
        ...

    def lose_earlier(self, arn: str, gap: Gap) -> DataTrimmed | None:
        """One of them is gone, with what was left of it; the error to end with, None to go on."""
        ...

    def leave(self, arn: str) -> None:
        """Nothing is left of this one, or its loss was told."""

    def load(self, client: StreamClient) -> Kept:
        """What earlier runs have kept of the stream."""
        ...

    def begin(self, beginning: Beginning, first: Kept, ended: Ended) -> None:
        """The shards were listed.

        Args:
            beginning: where the run begins.
            first: what is to be kept before anything is read.
            ended: to be told of each shard's end, from any thread.
        """

    def open(self, ready: Sequence[Ready]) -> None:
        """These shards may be read."""

    def lose(self, gap: Gap) -> DataTrimmed | None:
        """The service has lost a shard, unread; the error to end with, None to go on."""
        ...

    def expect_more(self, is_expected: bool) -> None:
        """Whether shards are known of that may be read later, and nobody knows from which time on."""

    def expect_no_child(self, shard_id: str) -> None:
        """Nothing continues this shard, as far as can be known: nobody need wait for it."""

    def give_up(self, shard_id: str) -> None:
        """No later run need find out again that this one is lost."""

    def forget(self, shard_ids: Collection[str]) -> None:
        """The service has these no more, and nobody will ask for them; told after each whole listing."""

    def flush(self) -> None:
        """All has been read: keep what is done."""

    def close(self) -> None:
        """The subscription is over, at any point of it; from any thread."""


class LocalOutlet:
    """Reads the shards in this process.

    Args:
        options: how the stream is read.
        progress: is told how far the subscription has come.
        events: is told of what happens beside the data.
        turns: where the shards are polled.
        writing: a scheduler that nobody's code can delay, for writing checkpoints.
        readers: get the shards.
        over: called when the last of them has left, and the last checkpoint is written.
        subscriber: the outermost subscriber.
        follows_another: whether the table had a stream before that this consumer has read.
    """

    def __init__(
        self,
        options: ReadOptions,
        progress: Progress,
        events: EventSink,
        turns: Turns,
        writing: abc.SchedulerBase,
        readers: Readers,
        over: Callable[[], object],
        subscriber: Subscriber,
        *,
        follows_another: bool = False,
    ) -> None:
        self._options = options
        self._progress = progress
        self._events = events
        self._turns = turns
        self._writing = writing
        self._readers = readers
        self._over = over
        self._loading: Writer | None = None
        self._writer: Writer | None = None  # once it has loaded
        self._closed = self._completed = False
        self.kept = Kept()
        self._follows_another = follows_another
        self._earlier: Sequence[Earlier] = ()
        self._subscriber = subscriber
        self._subscriber.when_through(self._subscriber_is_through)
        self._client: StreamClient
        self._subscription: Subscription
        self._tell_ended: Ended

    def earlier(self, client: StreamClient) -> Sequence[str]:
        store = self._options.checkpoints
        if store is None or not client.by_table or "/stream/" not in client.arn:
            return ()
        self._earlier = streams_before(store, client.arn, client.streams_of_table)
        self._follows_another = bool(self._earlier)
        return [each.arn for each in self._earlier if not each.is_over]

    def follows_another(self, arn: str) -> bool:
        """Whether one of the table's earlier streams came after another one."""
        return arn in [each.arn for each in self._earlier[1:]]

    def lose_earlier(self, arn: str, gap: Gap) -> DataTrimmed | None:
        return report(gap, arn, self._options, self._events)

    def leave(self, arn: str) -> None:
        if self._options.checkpoints is not None:
            leave_stream(self._options.checkpoints, arn)

    def load(self, client: StreamClient) -> Kept:
        self._client = client
        if self._options.checkpoints is None:
            return Kept()
        writer = self._loading = self._loading or Writer(
            self._options.checkpoints,
            client.arn,
            alive=lambda: client.answered_at,
            emitted=lambda: self._progress.emitted,
            scheduler=self._writing,
            emit=self._events.emit,
            on_failure=self._readers.on_error,
        )
        kept = writer.load()
        if self._follows_another and kept.start is None:
            kept = all_of(client.arn)
        self.kept = kept
        self._progress.resume(kept, client.arn)
        self._writer = writer
        if self._closed:  # meanwhile, when there was none to close
            self._end()
        return kept

    def begin(self, beginning: Beginning, first: Kept, ended: Ended) -> None:
        self._tell_ended = ended
        self._subscription = Subscription(
            self._client,
            self._options,
            beginning,
            self._progress,
            self._events,
            self._turns,
            self._writer,
            self,
        )
        if self._writer is not None:
            self._writer.begin(first)

    @property
    def is_all_done(self) -> bool:
        """Whether nothing that was kept of the stream is left to do."""
        return self._writer is not None and self._writer.is_all_done

    def open(self, ready: Sequence[Ready]) -> None:
        # All of them, before any is read: else the first one's watermark would run off alone.
        self._progress.opened(ready, self._subscription.beginning, self._client.answered_at)
        for each in ready:
            found = pages(self._subscription, each)
            self._readers.on_next(
                ShardStream(
                    each.shard,
                    each.position,
                    found,
                    self._client,
                    self._readers,
                    keeps_checkpoints=self._writer is not None,
                )
            )

    def lose(self, gap: Gap) -> DataTrimmed | None:
        return self._subscription.report(gap)

    def expect_more(self, is_expected: bool) -> None:
        self._progress.hold(is_expected)

    def expect_no_child(self, shard_id: str) -> None:
        self._progress.expect_no_child(shard_id)

    def give_up(self, shard_id: str) -> None:
        if self._writer is not None:
            self._writer.give_up(shard_id)

    def forget(self, shard_ids: Collection[str]) -> None:
        if self._writer is not None:
            self._progress.forget_windows(self._client.answered_at)
            self._writer.forget(shard_ids)

    def flush(self) -> None:
        self._completed = True
        if self._writer is not None:
            self._writer.flush()
        self._progress.all_read()

    def close(self) -> None:
        self._readers.close(self._end)

    def _end(self) -> None:
        # RxPY disposes right after on_completed; futures, or another thread, may have changes in hand still.
        self._closed = True
        if self._writer is not None and self._completed and not self._subscriber.is_through:
            self._writer.when_released(self._close_writer)
        else:
            self._close_writer()
        self._over()

    def _subscriber_is_through(self) -> None:
        if self._closed:
            self._close_writer()

    def _close_writer(self) -> None:
        if self._writer is not None:
            try:
                self._writer.close()
            except StreamError as error:
                log.error("%s", error)

    def ended(self, shard: Shard, short: bool) -> None:
        """See `ShardListener`."""
        self._progress.ended(shard.id, not short)
        self._tell_ended(shard, short)

    def failed(self, error: BaseException) -> None:
        """See `ShardListener`."""
        self._readers.on_error(error)
