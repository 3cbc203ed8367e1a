"""The public way in: `changes()` and `shards()`; and how a subscription is put together, on which threads.

Shards are polled on `scheduler=`, else on the scheduler that `subscribe` was given, else on a pool of 16
threads of the subscription's own. Discovery runs on the pool's `control`, and checkpoints are written on its
`writing`, each a thread that busy polls cannot delay; other schedulers have none, and do all of it. The first
step of discovery runs on the thread that subscribes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from reactivex import abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxddbstream.aws.client import StreamClient
from rxddbstream.checkpoints.guard import Guarded, Subscriber
from rxddbstream.checkpoints.store import CheckpointStore
from rxddbstream.errors import ConfigurationError
from rxddbstream.model.change import Change
from rxddbstream.model.origin import nothing
from rxddbstream.model.position import Start
from rxddbstream.protocol.pacing import Poll
from rxddbstream.reading.calls import Calls
from rxddbstream.reading.delivery import ShardStream, merge_shards
from rxddbstream.reading.discovery import Discovery
from rxddbstream.reading.earlier import EarlierStreams, Reading
from rxddbstream.reading.events import EventObserver, EventSink
from rxddbstream.reading.options import Connection, OnGap, ReadOptions
from rxddbstream.reading.outlet import LocalOutlet
from rxddbstream.reading.progress import Progress
from rxddbstream.reading.readers import Readers
from rxddbstream.reading.statistics import Counts, Statistics
from rxddbstream.reading.turns import Turns
from rxddbstream.scheduling.caller import CallerScheduler, Posting
from rxddbstream.scheduling.calling import call_each
from rxddbstream.scheduling.clock import SteadyClock
from rxddbstream.scheduling.pool import TimerPoolScheduler
from rxddbstream.scheduling.within import plain, tell_of

T = TypeVar("T")


class Stream(Guarded[T]):
    """What `changes` and `shards` return: an Observable that says how the reading goes.

    >>> stream = changes("orders")
    >>> stream.statistics().records
    0
    """

    def __init__(
        self,
        subscribe: Callable[..., abc.DisposableBase],
        counts: Counts,
        keeps_checkpoints: bool = False,
        polls: abc.SchedulerBase | None = None,
    ) -> None:
        super().__init__(subscribe)
        self._polls = polls  # where it reads, if not on the scheduler that is given to `subscribe`
        self._counts = counts
        self._keeps_checkpoints = keeps_checkpoints

    def statistics(self) -> Statistics:
        """A snapshot of what its subscriptions have done so far; it costs next to nothing.

        Counts add up over all of them; lag and watermark are those of the newest one.
        """
        return self._counts.statistics()


def changes(
    stream: str,
    *,
    start: Start = "latest",
    follow: bool = True,
    checkpoints: CheckpointStore | None = None,
    on_gap: OnGap = "raise",
    events: EventObserver | None = None,
    poll: Poll | None = None,
    scheduler: abc.SchedulerBase | None = None,
    client: Any = None,
    session: Any = None,
    region_name: str | None = None,
    profile_name: str | None = None,
    endpoint_url: str | None = None,
) -> Stream[Change]:
    """The changes of a table's items, as they happen.

    An item's changes come in the order in which they were made, right across splits of its shard.
    Changes of different items come in no particular order. Each subscription reads on its own.

    ::

        ----INSERT a----INSERT b--MODIFY a-------REMOVE b----

    Args:
        stream: a table's name or ARN, or a stream's ARN.
        start: `"latest"`: what is written after `subscribe` has returned, however late the service answers.
            `"trim_horizon"`: all that it still has, which is up to 24 hours. An aware datetime, or a
            timedelta (so long ago): what was written since. All of them are told by the service's clock.
        follow: False completes once all that was written before subscribing was delivered.
        checkpoints: where to keep how far the consumer has come: `MemoryCheckpoints()`,
            `SqliteCheckpoints(path)`, `DynamoDBCheckpoints(table, consumer=...)` or one's own. A
            subscription goes on where the last one stopped; `start` is for the first one alone. Where a
            table is given that has got another stream meanwhile, what is left of the old one comes first.
        on_gap: what to do when the service has thrown changes away before they could be read:
            `"raise"` ends the stream with `DataTrimmed`, `"skip"` goes on with what is left.
        events: an observer, or a function, which is told what happens beside the data: ShardOpened,
            ShardClosed, Retrying, Throttled, Gap, Checkpointed. It is called from several threads, one at
            a time.
        poll: how often shards are asked; see `Poll`.
        scheduler: where to poll; by default the one given to `subscribe`, else a pool of 16 threads
            of its own.
        client: a boto3 client for `dynamodbstreams`, or a double of one (see `rxddbstream.testing`),
            instead of one made here.
        session: a `boto3.Session` to make the client with.
        region_name, profile_name, endpoint_url: as boto3 takes them; its environment variables and
            configuration files hold here, too.

    Raises:
        ConfigurationError: arguments that cannot work. All other errors come to `on_error`.

    >>> from reactivex import operators as ops
    >>> inserts = changes("orders").pipe(ops.filter(lambda change: change.event_name == "INSERT"))
    """
    options = ReadOptions(start, follow, checkpoints, on_gap, events, poll or Poll(), scheduler)
    where = Connection(stream, client, session, region_name, profile_name, endpoint_url)
    return merged(shards_of(where.open, options))


def shards(
    stream: str,
    *,
    start: Start = "latest",
    follow: bool = True,
    checkpoints: CheckpointStore | None = None,
    on_gap: OnGap = "raise",
    events: EventObserver | None = None,
    poll: Poll | None = None,
    scheduler: abc.SchedulerBase | None = None,
    client: Any = None,
    session: Any = None,
    region_name: str | None = None,
    profile_name: str | None = None,
    endpoint_url: str | None = None,
) -> Stream[ShardStream]:
    """A table's stream as an Observable of its shards, each itself an Observable of changes.

    ::

        --A-----B------------C----|
          A: -a1--a2--a3-|
                B: -b1--b2---b3--|
                             C: -c1-|       C continues A

    A shard is emitted when it may be read: when the one that it continues was read to its end. So
    subscribe to every shard that is emitted, at once, or its descendants will not come. The error of a
    shard whose subscriber has no `on_error` ends the whole.

    Disposing it ends the stream of shards. Those that are subscribed to are read on, as groups are, until
    they end or are disposed, too; the threads, and the checkpoints, are there until then.

    The arguments are those of `changes`.

    >>> from reactivex import operators as ops
    >>> per_shard = shards("orders").pipe(ops.flat_map(lambda shard: shard.pipe(ops.count())))
    """
    options = ReadOptions(start, follow, checkpoints, on_gap, events, poll or Poll(), scheduler)
    where = Connection(stream, client, session, region_name, profile_name, endpoint_url)
    return shards_of(where.open, options, apart=True)


def merged(source: Stream[ShardStream]) -> Stream[Change]:
    """The changes of all shards; it counts where they do."""
    subscribe = partial(merge_shards, source, polls=source._polls)
    return Stream(subscribe, source._counts, source._keeps_checkpoints, source._polls)


def shards_of(
    find: Callable[[Callable[[], datetime]], StreamClient], options: ReadOptions, *, apart: bool = False
) -> Stream[ShardStream]:
    """The shards of whatever stream each subscription finds.

    Args:
        find: finds the stream, given a function that tells the time of the subscription's scheduler.
        options: how it is read.
        apart: whether people subscribe to each shard, rather than to all of them as one stream.
    """
    counts = Counts()

    def subscribe(
        observer: abc.ObserverBase[ShardStream], within: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        given, tell = plain(within), partial(tell_of, given=within)
        if isinstance(given, CallerScheduler):
            observer, given = Posting(observer, given), given.pool
        polls = options.scheduler or given
        if polls is not None:
            _refuse_unusable(polls)
            return _discover(find, options, counts, polls, observer, nothing, tell, apart=apart)
        own = TimerPoolScheduler()
        own.serves_one = True
        try:
            return _discover(find, options, counts, own, observer, own.shutdown, tell, apart=apart)
        except BaseException:
            own.shutdown()
            raise

    return Stream(subscribe, counts, options.checkpoints is not None, options.scheduler)


def _refuse_unusable(polls: abc.SchedulerBase) -> None:
    unusable = polls.unusable if isinstance(polls, TimerPoolScheduler) else None
    if unusable is not None:
        raise ConfigurationError(f"the scheduler {unusable}: nothing would be read")


def _discover(
    find: Callable[[Callable[[], datetime]], StreamClient],
    options: ReadOptions,
    counts: Counts,
    polls: abc.SchedulerBase,
    observer: abc.ObserverBase[ShardStream],
    over: Callable[[], object],
    tell: Callable[[Progress], object],
    *,
    apart: bool,
) -> abc.DisposableBase:
    """Make a subscription out of its parts, and begin.

    Args:
        over: called at the very end, when nobody reads a shard any more.
        tell: is told of the event time of each stream that is read.
    """
    readers = Readers(observer, polls)
    if apart:
        readers.watch_shutdown()
    clock = SteadyClock(lambda: polls.now.timestamp())
    parts = _Parts(
        counts=counts,
        polls=polls,
        clock=clock,
        turns=Turns(options.poll, polls, clock),
        events=EventSink(options.events, readers.on_error),
        subscriber=Subscriber.current(),
        tell=tell,
    )
    return parts.read(partial(find, lambda: polls.now), options, readers, over).subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the streams share that one subscription reads: the table's, and those that it had before."""

    counts: Counts
    polls: abc.SchedulerBase
    clock: SteadyClock
    turns: Turns
    events: EventSink
    subscriber: Subscriber
    tell: Callable[[Progress], object]

    def read(
        self,
        find: Callable[[], StreamClient],
        options: ReadOptions,
        readers: Readers,
        over: Callable[[], object] = nothing,
        follows_another: bool = False,
    ) -> Reading:
        """Subscribe to one of them."""
        # A slow observer holds up polls, and discovery at the end; checkpoints must be written on.
        control, writing = (getattr(self.polls, lane, self.polls) for lane in ("control", "writing"))
        progress = Progress(self.counts, options.alignment, keeps_checkpoints=options.checkpoints is not None)
        outlet = LocalOutlet(
            options,
            progress,
            self.events,
            self.turns,
            writing,
            readers,
            partial(call_each, [progress.end, over]),
            self.subscriber,
            follows_another=follows_another,
        )

        def read_to_end(client: StreamClient, observer: abc.ObserverBase[ShardStream]) -> Reading:
            bounded = replace(options, follow=False, until=None)
            those = Readers(observer, self.polls, within=readers)
            follows_another = outlet.follows_another(client.arn)
            reading = self.read(lambda: client, bounded, those, follows_another=follows_another)
            goes_on = Disposable(lambda: self.counts.follow(progress))
            return reading._replace(subscription=CompositeDisposable(reading.subscription, goes_on))

        calls = Calls(options.poll, self.events, self.counts, self.clock)
        earlier = EarlierStreams(read_to_end, readers)
        discovery = Discovery(find, options, calls, outlet, readers, earlier)
        self.tell(progress)  # before anything comes of it
        return Reading(discovery.run(control), lambda: outlet.kept, lambda: outlet.is_all_done)
