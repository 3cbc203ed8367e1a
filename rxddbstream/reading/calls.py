"""The calls of a discovery, made until they are answered, and those of a shard's polls, made once.

The methods of `Calls` are coroutines: generators that yield how long they wait; see
`rxddbstream.scheduling.coroutine`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar

from rxddbstream.aws.client import ShardPage, StreamClient
from rxddbstream.errors import (
    IteratorExpired,
    IteratorTrimmed,
    MalformedAnswer,
    RequestFailed,
    ServiceUnavailable,
    ShardNotFound,
    TransientError,
)
from rxddbstream.model.messages import (
    Answer,
    Fault,
    GetIterator,
    GetRecords,
    Iterator,
    Listed,
    LookUp,
    Request,
)
from rxddbstream.model.shard import Shard
from rxddbstream.protocol.pacing import Poll
from rxddbstream.reading.events import EventSink
from rxddbstream.reading.retry import Failures
from rxddbstream.reading.statistics import Counts
from rxddbstream.scheduling.clock import SteadyClock
from rxddbstream.scheduling.coroutine import Wait

LISTING_BURST = 10  # DescribeStream calls an account may make in a second
# So many 500s or broken answers in a row are taken for "AT_TIMESTAMP is not known here".
REFUSALS_BELIEVED = 3

T = TypeVar("T")


class Listing(NamedTuple):
    """A whole listing.

    Attributes:
        shards: all shards.
        answered_at: the service's time of its first page.
        now: the same by `Calls.now`.
    """

    shards: list[Shard]
    answered_at: datetime
    now: float


class Pages:
    """Asks for the pages of one listing after the other.

    Args:
        client: the stream.
    """

    def __init__(self, client: StreamClient) -> None:
        self._client = client
        self._asked: set[str] = set()

    def page(self, after: str | None = None) -> ShardPage:
        """A page; one without `after` begins anew.

        Raises:
            MalformedAnswer: it leads back to where the listing was before, and so would never end.
            StreamError: it cannot be asked for.
        """
        if after is None:
            self._asked.clear()
        else:
            self._asked.add(after)
        page = self._client.list_shards(after=after)
        if page.next_shard_id in self._asked:
            raise MalformedAnswer(
                f"the listing of stream {self._client.arn} leads back to shard {page.next_shard_id}, where "
                "it was before: what answers there does not know ExclusiveStartShardId"
            )
        return page


class Calls:
    """Makes the calls of one discovery.

    Attributes:
        client: the stream, once there is one; to be set by `connect`.
        enabled: whether the stream still takes changes, by the last answer.
    """

    client: StreamClient

    def __init__(self, poll: Poll, events: EventSink, counts: Counts, clock: SteadyClock) -> None:
        self._poll = poll
        self._events = events
        self._counts = counts
        self._clock = clock
        self.enabled = True

    def now(self) -> float:
        """Seconds that never go back."""
        return self._clock.seconds()

    def until_answered(self, call: Callable[[], T]) -> Generator[Wait, None, T]:
        """Make a call, again as long as it fails in passing."""
        failures = Failures(self._poll, self._clock, self._counts, self._events)
        while True:
            try:
                return call()
            except TransientError as error:
                delay = failures.delay_after(error)
                if delay is None:
                    raise
                yield Wait(delay)

    def connect(self, connect: Callable[[], StreamClient]) -> Generator[Wait, None, None]:
        """Find the stream."""
        self.client = yield from self.until_answered(connect)

    def list_all(self) -> Generator[Wait, None, Listing]:
        """List all shards, ten pages a second."""
        pages = Pages(self.client)
        page = yield from self.until_answered(pages.page)
        listing, calls = Listing(list(page.shards), page.answered_at, self.now()), 1
        while page.next_shard_id is not None:
            if calls % LISTING_BURST == 0:
                yield Wait(1.0)
            after = page.next_shard_id
            page = yield from self.until_answered(partial(pages.page, after))
            calls += 1
            listing.shards.extend(page.shards)
        self.enabled = page.enabled
        return listing

    def list_children(self, shard_id: str) -> Generator[Wait, None, list[Shard] | None]:
        """A shard's children; None when the service does not know how to list them alone.

        Raises:
            StreamNotFound: there is no such stream, or no such shard.
        """
        ask = partial(self.client.list_shards, children_of=shard_id)
        try:
            page = yield from self.until_answered(ask)
        except RequestFailed:
            return None
        if page.next_shard_id is not None:
            return None  # no shard has so many: the filter went unnoticed
        self.enabled = page.enabled
        return page.shards


class ShardCalls:
    """Asks the service what one shard's reader wants to know.

    Args:
        client: the stream.
        shard_id: the shard.
        counts: where the calls are counted.
    """

    def __init__(self, client: StreamClient, shard_id: str, counts: Counts) -> None:
        self._client = client
        self._pages = Pages(client)
        self._shard_id = shard_id
        self._counts = counts
        self._refusals = 0  # in a row; an iterator that is made may still be refused when it is used

    def answer(self, request: Request, may_be_refused: bool) -> Answer:
        """Make one call.

        Args:
            may_be_refused: whether the service may not know the kind of iterator in use.

        Raises:
            TransientError: it is to be made again.
            StreamError: it cannot be made.
        """
        try:
            answer = self._ask(request)
        except IteratorExpired:
            answer = Fault.EXPIRED
        except IteratorTrimmed:
            answer = Fault.TRIMMED
        except ShardNotFound:
            answer = Fault.NOT_FOUND
        except (RequestFailed, ServiceUnavailable, MalformedAnswer) as error:
            # A service that does not know AT_TIMESTAMP may say so in any words, even as a 500; moto does
            # when the iterator is used.
            if not may_be_refused or isinstance(request, LookUp):
                raise
            self._refusals += 1
            if isinstance(error, TransientError) and self._refusals < REFUSALS_BELIEVED:
                raise
            answer = Fault.REFUSED
        if not isinstance(answer, Iterator):
            self._refusals = 0
        return answer

    def _ask(self, request: Request) -> Answer:
        match request:
            case GetIterator(position):
                return self._client.get_iterator(self._shard_id, position)
            case GetRecords(iterator):
                self._counts.called()
                records = self._client.get_records(self._shard_id, iterator)
                self._counts.answered(records.records or ())
                return records
            case LookUp(after):
                page = self._pages.page(after)
                found = next((shard for shard in page.shards if shard.id == self._shard_id), None)
                return Listed(found, page.next_shard_id)
