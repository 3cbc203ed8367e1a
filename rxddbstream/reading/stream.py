"""The public way in: `changes()` and `shards()`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from typing import Any, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxddbstream.aws.client import StreamClient
from rxddbstream.aws.connect import connect
from rxddbstream.checkpoints.store import CheckpointStore
from rxddbstream.errors import ConfigurationError
from rxddbstream.model.change import Change
from rxddbstream.model.position import Start, resolve
from rxddbstream.protocol.pacing import Poll
from rxddbstream.reading.delivery import ShardStream, merge_shards
from rxddbstream.reading.discovery import Discovery
from rxddbstream.reading.events import EventObserver
from rxddbstream.reading.progress import Progress
from rxddbstream.reading.statistics import Counts, Statistics
from rxddbstream.reading.subscription import OnGap
from rxddbstream.scheduling.pool import WORKERS, TimerPoolScheduler

T = TypeVar("T")


class Stream(Observable[T]):
    """What `changes` and `shards` return: an Observable that says how the reading goes.

    >>> stream = changes("orders")
    >>> stream.statistics().records
    0
    """

    def __init__(self, subscribe: Callable[..., abc.DisposableBase], counts: Counts) -> None:
        super().__init__(subscribe)
        self._counts = counts

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
            timedelta (so long ago): what was written since.
        follow: False completes once all that was written before subscribing was delivered.
        checkpoints: where to keep how far the consumer has come: `MemoryCheckpoints()`,
            `SqliteCheckpoints(path)`, `DynamoDBCheckpoints(table, consumer=...)` or one's own. A
            subscription goes on where the last one stopped; `start` is for the first one alone.
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
    source = shards(
        stream,
        start=start,
        follow=follow,
        checkpoints=checkpoints,
        on_gap=on_gap,
        events=events,
        poll=poll,
        scheduler=scheduler,
        client=client,
        session=session,
        region_name=region_name,
        profile_name=profile_name,
        endpoint_url=endpoint_url,
    )
    return merged(source)


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

    The arguments are those of `changes`.

    >>> from reactivex import operators as ops
    >>> per_shard = shards("orders").pipe(ops.flat_map(lambda shard: shard.pipe(ops.count())))
    """
    _check(stream, start, on_gap, checkpoints, client, session, region_name, profile_name, endpoint_url)

    def find(now: Callable[[], datetime]) -> StreamClient:
        return connect(
            stream,
            now=now,
            client=client,
            session=session,
            region_name=region_name,
            profile_name=profile_name,
            endpoint_url=endpoint_url,
            connections=WORKERS + 1,
        )

    return shards_of(
        find,
        start=start,
        follow=follow,
        checkpoints=checkpoints,
        on_gap=on_gap,
        events=events,
        poll=poll,
        scheduler=scheduler,
    )


def merged(source: Stream[ShardStream]) -> Stream[Change]:
    """The changes of all shards; it counts where they do."""
    return Stream(partial(merge_shards, source), source._counts)


def shards_of(
    find: Callable[[Callable[[], datetime]], StreamClient],
    *,
    start: Start = "latest",
    follow: bool = True,
    until: datetime | None = None,
    alignment: float | None = None,
    checkpoints: CheckpointStore | None = None,
    on_gap: OnGap = "raise",
    events: EventObserver | None = None,
    poll: Poll | None = None,
    scheduler: abc.SchedulerBase | None = None,
) -> Stream[ShardStream]:
    """The shards of whatever stream each subscription finds.

    Args:
        find: makes the client, given a function that tells the time of the subscription's scheduler.
        until: with `follow=False`, the service's time to end at; by default, that of subscribing.
        alignment: how many seconds a shard may be ahead of the slowest; by default, any.
        start and all others: as for `shards`.
    """
    counts = Counts()

    def subscribe(
        observer: abc.ObserverBase[ShardStream], given: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        own = TimerPoolScheduler(WORKERS) if scheduler is None and given is None else None
        polls = scheduler or given or own
        assert polls is not None
        discovery = Discovery(
            partial(find, lambda: polls.now),
            start=start,
            follow=follow,
            until=until,
            poll=poll or Poll(),
            checkpoints=checkpoints,
            on_gap=on_gap,
            events=events,
            progress=Progress(counts, alignment),
            # A slow observer can hold up all polls; discovery must go on.
            scheduler=getattr(polls, "control", polls),
            polls=polls,
            observer=observer,
        )
        if own is None:
            return discovery.run()
        try:
            subscription = discovery.run()
        except BaseException:
            own.shutdown()
            raise
        return CompositeDisposable(subscription, Disposable(own.shutdown))

    return Stream(subscribe, counts)


def _check(
    stream: str, start: Start, on_gap: str, checkpoints: object, client: Any, *for_making_one: object
) -> None:
    """Refuse what cannot work before anybody subscribes to it."""
    if not isinstance(stream, str) or not stream.strip():
        raise ConfigurationError(f"stream={stream!r}: a table's name or a stream's ARN is needed")
    resolve(start, now=datetime.max.replace(tzinfo=UTC))
    if on_gap not in ("raise", "skip"):
        raise ConfigurationError(f"on_gap={on_gap!r}: 'raise' or 'skip' is needed")
    if checkpoints is not None and not hasattr(checkpoints, "load"):
        path = str(checkpoints) if isinstance(checkpoints, (str, PathLike)) else "FILE"
        raise ConfigurationError(
            f"checkpoints={checkpoints!r} is not a store: use rxd.SqliteCheckpoints({path!r})"
        )
    if client is not None:
        if any(option is not None for option in for_making_one):
            raise ConfigurationError(
                "client= has its session, region and endpoint already; give either it or them"
            )
        if not hasattr(client, "get_shard_iterator"):
            raise ConfigurationError(
                "client= must be boto3.client('dynamodbstreams'), or a double of one; "
                f"not {type(client).__name__}"
            )
