"""A look at a stream's shards: `lineage()`."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import reactivex
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable

from rxddbstream.aws.client import StreamClient
from rxddbstream.consume import run
from rxddbstream.model.page import Page
from rxddbstream.protocol.pacing import Poll
from rxddbstream.reading.calls import Calls
from rxddbstream.reading.delivery import ShardStream
from rxddbstream.reading.events import EventObserver, EventSink
from rxddbstream.reading.options import Connection, ReadOptions
from rxddbstream.reading.statistics import Counts
from rxddbstream.reading.stream import shards_of
from rxddbstream.scheduling.clock import SteadyClock
from rxddbstream.scheduling.coroutine import Stepper, Wait
from rxddbstream.views.listed import ShardContent
from rxddbstream.views.shard_tree import ShardTree

GIVE_UP_AFTER = 30.0  # seconds that a listing may fail in a row, once the stream was found


def lineage(
    stream: str,
    *,
    read: bool = False,
    events: EventObserver | None = None,
    client: Any = None,
    session: Any = None,
    region_name: str | None = None,
    profile_name: str | None = None,
    endpoint_url: str | None = None,
) -> ShardTree:
    """A stream's shards as they are listed now, as a tree: which one continues which.

    Each call lists them anew. A shard that is listed late by the service may be missing.

    Args:
        stream: a table's name, or a stream's ARN.
        read: whether to read each shard too, from its oldest change up to now, and count. It makes at
            least twenty calls of GetRecords for each open shard, which AWS charges for.
        events: with `read`, as for `changes`.
        client, session, region_name, profile_name, endpoint_url: as for `changes`.

    Raises:
        StreamError: the stream cannot be found, listed or read. It is tried again for half a minute where
            that may help, but for the first call.

    >>> from rxddbstream.testing import SimulatedStream
    >>> sim = SimulatedStream()
    >>> child = sim.roll_over()
    >>> print(lineage(sim.arn, client=sim.client))
    shardId-00000000000000000000-b4acb1ab    closed
    ↓ shardId-00000000000000000001-c3ab813d  open
    """
    where = Connection(stream, client, session, region_name, profile_name, endpoint_url)
    found = where.open(lambda: datetime.now(UTC))
    # Before the listing: a shard that was read is listed, and how it stands is told as of the end.
    contents = _read(found, events) if read else None
    trees: list[ShardTree] = []
    run(reactivex.create(partial(_list, found, contents)), trees.append)
    return trees[0]


def _list(
    client: StreamClient,
    contents: dict[str, ShardContent] | None,
    observer: abc.ObserverBase[ShardTree],
    scheduler: abc.SchedulerBase | None = None,
) -> abc.DisposableBase:
    """List the shards, no faster than the service allows."""
    assert scheduler is not None
    clock = SteadyClock(lambda: scheduler.now.timestamp())
    calls = Calls(Poll(give_up_after=GIVE_UP_AFTER), EventSink(None, observer.on_error), Counts(), clock)

    def coroutine() -> Generator[Wait, None, None]:
        yield from calls.connect(lambda: client)
        listing = yield from calls.list_all()
        observer.on_next(ShardTree.of(client.arn, listing.answered_at, listing.shards, contents))

    stepper = Stepper(coroutine(), scheduler, observer.on_completed, observer.on_error)
    stepper.start()
    return Disposable(stepper.dispose)


def _read(client: StreamClient, events: EventObserver | None) -> dict[str, ShardContent]:
    """What each shard holds."""
    contents: dict[str, ShardContent] = {}

    def pages_of(shard: ShardStream) -> Observable[Page]:
        contents[shard.shard.id] = ShardContent()
        return shard.pages

    def add(page: Page) -> None:
        contents[page.shard_id] = contents[page.shard_id].and_page(
            len(page.changes), _time_of(page, 0), _time_of(page, -1)
        )

    options = ReadOptions(
        start="trim_horizon",
        follow=False,
        on_gap="skip",
        events=events,
        poll=Poll(fastest=0.05, slowest=0.5, give_up_after=GIVE_UP_AFTER),
    )
    source = shards_of(lambda _: client, options)
    run(source.pipe(ops.flat_map(pages_of)), add)
    return contents


def _time_of(page: Page, place: int) -> datetime | None:
    change = page.changes[place]
    return change.created_at if change.has_time else None
