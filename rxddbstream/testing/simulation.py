"""The simulated stream: a table that is written to, and whose shards split and are trimmed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Literal, TypeAlias

from botocore.exceptions import ClientError
from reactivex import abc

from rxddbstream.testing.client import PARAMETERS, Answer, SimulatedClient
from rxddbstream.testing.faults import Faults, FaultSource, client_error, metadata
from rxddbstream.testing.log import LogShard, StreamLog
from rxddbstream.testing.records import Image, Record, build_record, hash_of, image_of
from rxddbstream.testing.service import REGION, Service, Settings, describe
from rxddbstream.testing.shapes import SimulatedShard, build_shards

EVER = datetime.max.replace(tzinfo=UTC)
BY_TTL = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}

ViewType: TypeAlias = Literal["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"]
Hook: TypeAlias = Callable[[str, dict[str, Any]], None]


class SimulatedStream:
    """A table and its DynamoDB stream, in memory; deterministic, and safe to use from many threads.

    Write with `put` and `remove`, reshape with `split` and `roll_over`, lose data with `trim`, and
    read through `client`, which answers as boto3's `dynamodbstreams` client does.

    Args:
        table_name: the table.
        scheduler: whose `now` is the time; None: the wall clock.
        shards: how many open shards to begin with, or a history from `build_shards`.
        key: the name of the table's one key attribute.
        view_type: how much of an item the records show.
        page_size: the most records of one GetRecords.
        listing_page_size: the most shards of one DescribeStream.
        listing_delay: seconds until a new shard is listed; it can be read at once.
        empty_pages: how many empty pages GetRecords answers before each page with records.
        records_with_last_page: whether a closed shard's last records come with the end of the shard
            (no NextShardIterator), or before one more empty page.
        retention: how long records are kept, and shards after they were closed.
        iterator_lifetime: how long an iterator can be used.
        supports_shard_filter: False: ShardFilter goes unnoticed, as where it is not known.
        supports_at_timestamp: False: AT_TIMESTAMP is refused with a ValidationException.
        whole_second_times: whether the records' creation times are cut to the second.
        ahead: how far the service's clock is ahead of the scheduler's, or behind, where it is negative;
            each answer has it, in whole seconds, as AWS's have. None: the same clock, and no answer has it.
        faults: how often calls fail.

    Attributes:
        client: the double of boto3's client.
        arn, table_name: what the stream and the table are called.
        calls: how often each operation was called, failures included: `sim.calls["GetRecords"]`.
        before_call: called before each call with the operation and its arguments, outside the lock:
            it may write to the stream, or raise in place of an answer.

    >>> sim = SimulatedStream("orders", shards=2)
    >>> changes = [sim.put("a", total=1), sim.put("a", total=2), sim.remove("a")]
    >>> [change["eventName"] for change in sim.records]
    ['INSERT', 'MODIFY', 'REMOVE']
    """

    def __init__(
        self,
        table_name: str = "orders",
        *,
        scheduler: abc.SchedulerBase | None = None,
        shards: int | Sequence[SimulatedShard] = 1,
        key: str = "id",
        view_type: ViewType = "NEW_AND_OLD_IMAGES",
        page_size: int = 1000,
        listing_page_size: int = 100,
        listing_delay: float = 0.0,
        empty_pages: int = 0,
        records_with_last_page: bool = False,
        retention: timedelta = timedelta(hours=24),
        iterator_lifetime: timedelta = timedelta(minutes=15),
        supports_shard_filter: bool = True,
        supports_at_timestamp: bool = True,
        whole_second_times: bool = False,
        ahead: timedelta | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._key = key
        self._view_type: ViewType = view_type
        self._listing_delay = timedelta(seconds=listing_delay)
        self._retention = retention
        self._whole_second_times = whole_second_times
        self._ahead = ahead
        settings = Settings(
            page_size=page_size,
            listing_page_size=listing_page_size,
            empty_pages=empty_pages,
            records_with_last_page=records_with_last_page,
            iterator_lifetime=iterator_lifetime,
            supports_shard_filter=supports_shard_filter,
            supports_at_timestamp=supports_at_timestamp,
        )
        history = build_shards(shards) if isinstance(shards, int) else shards
        self._begin(table_name, history, settings, faults or Faults())

    def _begin(
        self, table_name: str, history: Sequence[SimulatedShard], settings: Settings, faults: Faults
    ) -> None:
        self._lock = Lock()
        self._latest = datetime.min.replace(tzinfo=UTC)
        now = self._now()
        description = describe(table_name, self._key, self._view_type, now)
        self.table_name = table_name
        self.arn: str = description["StreamArn"]
        self.client = SimulatedClient(self._call)
        self.calls: Counter[str] = Counter()
        self.before_call: Hook | None = None
        self._items: dict[str, Image] = {}
        self._scripts: dict[str, deque[Exception | str | Answer | None]] = {
            operation: deque() for operation in PARAMETERS
        }
        self._faults = FaultSource(faults)
        if faults.expire_after is not None:
            settings = replace(settings, iterator_lifetime=timedelta(seconds=faults.expire_after))
        self._log = StreamLog(history, now)
        self._service = Service(self._log, description, settings)

    # Writing

    def put(self, key: Any, /, **attributes: Any) -> Record:
        """Write an item, and return the record: INSERT, or MODIFY when the item exists.

        Values are plain Python: str, int, Decimal, bytes, bool, None, list, dict, set. Unlike in
        DynamoDB, a put that changes nothing is a record too.
        """
        with self._lock:
            return self._write(key, attributes)

    def put_into(self, shard_id: str, key: Any, /, **attributes: Any) -> Record:
        """Write an item into a shard of one's choice, whatever the key's hash says.

        The shard may be closed if it was from the beginning: that is how history gets its records.

        >>> first, last = build_shards(2, "chain")
        >>> sim = SimulatedStream(shards=[first, last])
        >>> old, new = sim.put_into(first.id, "a", n=1), sim.put("a", n=2)
        >>> new["eventName"], len(sim.records_of(first.id)), len(sim.records_of(last.id))
        ('MODIFY', 1, 1)
        """
        with self._lock:
            return self._write(key, attributes, self._log.shards[shard_id])

    def remove(self, key: Any, /, *, by_ttl: bool = False) -> Record | None:
        """Delete an item; by_ttl: as Time to Live does. None when there was no such item."""
        with self._lock:
            if repr(image_of({self._key: key})) not in self._items:
                return None
            return self._write(key, None, user_identity=BY_TTL if by_ttl else None)

    def _write(
        self,
        key: Any,
        attributes: dict[str, Any] | None,
        shard: LogShard | None = None,
        user_identity: dict[str, str] | None = None,
    ) -> Record:
        keys = image_of({self._key: key})
        new = None if attributes is None else keys | image_of(attributes)
        item = repr(keys)
        shard = shard or self._log.owner(hash_of(item))
        now = self._now()
        record = build_record(
            sequence_number=self._log.next_sequence_number(shard),
            created_at=now.replace(microsecond=0) if self._whole_second_times else now,
            region=REGION,
            view_type=self._view_type,
            keys=keys,
            old=self._items.get(item),
            new=new,
            user_identity=user_identity,
        )
        self._log.append(shard, record, now)
        if new is None:
            del self._items[item]
        else:
            self._items[item] = new
        return record

    # Shards

    def split(self, shard_id: str) -> tuple[SimulatedShard, SimulatedShard]:
        """Close a shard and open two children, each with one half of its hashes."""
        with self._lock:
            left, right = self._succeed([self._log.shards[shard_id]], 2)
            return left, right

    def roll_over(self, shard_id: str | None = None) -> list[SimulatedShard]:
        """Close a shard (None: all open ones) and open one successor to each; returns those."""
        with self._lock:
            shards = self._log.open[:] if shard_id is None else [self._log.shards[shard_id]]
            return self._succeed(shards, 1)

    def close(self, shard_id: str) -> None:
        """Close a shard without a successor: nobody can write its items any more."""
        with self._lock:
            self._succeed([self._log.shards[shard_id]], 0)

    def trim(self, before: datetime | None = None) -> None:
        """Drop the records older than a time, and the shards that were closed before it; None: all.

        Each call trims what is past retention by itself.
        """
        with self._lock:
            self._log.trim(EVER if before is None else before)

    def disable(self) -> None:
        """Switch the stream off: all shards close, what they hold can still be read."""
        with self._lock:
            self._succeed(self._log.open[:], 0)
            self._service.description["StreamStatus"] = "DISABLED"

    def delete(self) -> None:
        """Delete the stream: every call answers ResourceNotFoundException."""
        with self._lock:
            self._succeed(self._log.open[:], 0)
            self._service.is_deleted = True

    def _succeed(self, shards: Iterable[LogShard], heirs: int) -> list[SimulatedShard]:
        now = self._now()
        return [
            child.snapshot()
            for shard in shards
            for child in self._log.succeed(shard, heirs, now, now + self._listing_delay)
        ]

    # What there is, for assertions

    @property
    def records(self) -> list[Record]:
        """Every record that was ever written, in the order of writing."""
        with self._lock:
            return [record for _, record in self._log.written]

    def records_of(self, shard_id: str) -> list[Record]:
        """Every record that was ever written to a shard, trimmed ones too."""
        with self._lock:
            return self._log.shards[shard_id].records[:]

    @property
    def shards(self) -> list[SimulatedShard]:
        """The shards that have not vanished, parents first; those that are not listed yet, too."""
        with self._lock:
            return [shard.snapshot() for shard in self._log.listed]

    # Calls

    def script(self, operation: str, *outcomes: Exception | str | Answer | None) -> None:
        """Say what the next calls of an operation come to, one by one.

        An exception is raised, a string is an AWS error code, a dict is the answer (`{}`: a body
        that was cut), and None lets one call pass.

        >>> sim = SimulatedStream()
        >>> sim.script("DescribeStream", None, "ThrottlingException", {})
        """
        with self._lock:
            self._scripts[operation].extend(outcomes)

    def _call(self, operation: str, arguments: dict[str, Any]) -> Answer:
        """The one way in for every call."""
        with self._lock:
            self.calls[operation] += 1
        if self.before_call is not None:
            self.before_call(operation, arguments)
        with self._lock:
            now = self._now()
            self._log.trim(now - self._retention)
            script = self._scripts[operation]
            outcome = script.popleft() if script else self._faults.draw(operation)
            if isinstance(outcome, str):
                outcome = client_error(outcome, operation)
            told = metadata(at=None if self._ahead is None else now)
            try:
                if isinstance(outcome, Exception):
                    raise outcome
                if outcome is None:
                    outcome = self._service.answer(operation, arguments, now)
            except ClientError as error:
                error.response.setdefault("ResponseMetadata", told).update(HTTPHeaders=told["HTTPHeaders"])
                raise
            return {**outcome, "ResponseMetadata": told}

    def _now(self) -> datetime:
        """The time, which never goes back: a wall clock does, and records are searched by time."""
        now = datetime.now(UTC) if self._scheduler is None else self._scheduler.now
        if self._ahead is not None:
            now = now.astimezone(UTC) + self._ahead
        self._latest = max(self._latest, now)
        return self._latest
