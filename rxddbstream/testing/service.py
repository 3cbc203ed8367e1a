"""The answering side: what DynamoDB Streams says to each of the four calls."""

from __future__ import annotations

from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from rxddbstream.testing.client import Answer
from rxddbstream.testing.faults import client_error
from rxddbstream.testing.log import LogShard, StreamLog
from rxddbstream.testing.records import creation_time_of, sequence_number_of

MOST_RECORDS = 1000  # that AWS lets GetRecords ask for
REGION = "us-east-1"
ACCOUNT = "123456789012"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the service answers; `SimulatedStream` explains each."""

    page_size: int
    listing_page_size: int
    empty_pages: int
    records_with_last_page: bool
    iterator_lifetime: timedelta
    supports_shard_filter: bool
    supports_at_timestamp: bool


def describe(table_name: str, key: str, view_type: str, now: datetime) -> dict[str, Any]:
    """A new stream, as DescribeStream tells of it."""
    label = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}"
    return {
        "StreamArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table_name}/stream/{label}",
        "StreamLabel": label,
        "StreamStatus": "ENABLED",
        "StreamViewType": view_type,
        "CreationRequestDateTime": now,
        "TableName": table_name,
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
    }


class Cursor(NamedTuple):
    """What an iterator stands for.

    A place is counted in records of the shard: a record keeps its place when those before it are
    trimmed, and thus a place among the trimmed ones is known for what it is.
    """

    shard: LogShard
    place: int
    empty_pages: int  # still to be answered before the next records
    made_at: float


class Service:
    """Answers calls from a log. `description` is DescribeStream's answer, short of the shards."""

    def __init__(self, log: StreamLog, description: dict[str, Any], settings: Settings) -> None:
        self._log = log
        self._settings = settings
        self._iterators = 0
        self._operations = {
            "ListStreams": self._list_streams,
            "DescribeStream": self._describe_stream,
            "GetShardIterator": self._get_shard_iterator,
            "GetRecords": self._get_records,
        }
        self.description = description
        self.is_deleted = False

    def answer(self, operation: str, arguments: dict[str, Any], now: datetime) -> Answer:
        """Answer one call, without the metadata, or raise the error that AWS would answer with."""
        arn = self.description["StreamArn"]
        if self.is_deleted or arguments.get("StreamArn", arn) != arn:
            missing = f"Requested resource not found: Stream: {arguments.get('StreamArn', arn)}"
            raise client_error("ResourceNotFoundException", operation, f"{missing} not found")
        return self._operations[operation](arguments, now)

    def _list_streams(self, arguments: dict[str, Any], _now: datetime) -> Answer:
        stream = {key: self.description[key] for key in ("StreamArn", "TableName", "StreamLabel")}
        is_asked_for = (
            arguments.get("TableName", stream["TableName"]) == stream["TableName"]
            and arguments.get("ExclusiveStartStreamArn") != stream["StreamArn"]
        )
        return {"Streams": [stream] if is_asked_for else []}

    def _describe_stream(self, arguments: dict[str, Any], now: datetime) -> Answer:
        candidates = self._log.listed
        shard_filter = arguments.get("ShardFilter")
        # A service that does not know the filter takes no notice of it, as DynamoDB's stand-ins do.
        if shard_filter is not None and self._settings.supports_shard_filter:
            if shard_filter.get("Type") != "CHILD_SHARDS" or "ShardId" not in shard_filter:
                raise _invalid("DescribeStream", f"Invalid ShardFilter: {shard_filter}")
            parent = self._shard("DescribeStream", shard_filter["ShardId"])
            candidates = [shard for shard in parent.children if not shard.vanished]
        first = 0
        if (after := arguments.get("ExclusiveStartShardId")) is not None:
            if after not in self._log.shards:
                raise _invalid("DescribeStream", f"Invalid ExclusiveStartShardId: {after}")
            number = self._log.shards[after].number  # known even when the shard has vanished since
            first = bisect_right(candidates, number, key=lambda shard: shard.number)
        limit = min(arguments.get("Limit", 100), self._settings.listing_page_size)
        rest = (candidates[i] for i in range(first, len(candidates)))
        page = list(islice((shard for shard in rest if shard.visible_at <= now), limit + 1))
        answer = {**self.description, "Shards": [_describe(shard) for shard in page[:limit]]}
        if len(page) > limit:
            answer["LastEvaluatedShardId"] = page[limit - 1].id
        return {"StreamDescription": answer}

    def _get_shard_iterator(self, arguments: dict[str, Any], now: datetime) -> Answer:
        shard = self._shard("GetShardIterator", arguments["ShardId"])
        place = self._place(shard, arguments, now)
        return {"ShardIterator": self._iterator(shard, place, self._settings.empty_pages, now)}

    def _place(self, shard: LogShard, arguments: dict[str, Any], now: datetime) -> int:
        match arguments["ShardIteratorType"]:
            case "LATEST":
                return len(shard.records)
            case "TRIM_HORIZON":
                return shard.trimmed
            case "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER" as kind:
                text = arguments.get("SequenceNumber", "")
                if not text.isdecimal():
                    raise _invalid("GetShardIterator", f"Invalid SequenceNumber: {text!r}")
                bisect = bisect_left if kind.startswith("AT") else bisect_right
                number = int(text)
                if shard.trimmed and number <= sequence_number_of(shard.records[shard.trimmed - 1]):
                    raise client_error("TrimmedDataAccessException", "GetShardIterator")
                return bisect(shard.records, number, key=sequence_number_of)
            case "AT_TIMESTAMP" if self._settings.supports_at_timestamp:
                time = _aware(arguments.get("Timestamp"))
                if time > now:
                    raise _invalid("GetShardIterator", "Timestamp is in the future")
                return bisect_left(shard.records, time, lo=shard.trimmed, key=creation_time_of)
            case kind:
                raise _invalid("GetShardIterator", f"Invalid ShardIteratorType: {kind}")

    def _get_records(self, arguments: dict[str, Any], now: datetime) -> Answer:
        limit = arguments.get("Limit", MOST_RECORDS)
        if limit > MOST_RECORDS:
            raise client_error("LimitExceededException", "GetRecords")
        shard, place, empty_pages, made_at = self.cursor(arguments["ShardIterator"])
        if shard.vanished:
            raise _no_shard("GetRecords", shard.id)
        if now.timestamp() - made_at > self._settings.iterator_lifetime.total_seconds():
            raise client_error("ExpiredIteratorException", "GetRecords")
        if place < shard.trimmed:
            raise client_error("TrimmedDataAccessException", "GetRecords")

        # Records are shared with every reader and not copied: they are most of a simulation.
        records = shard.page(place, min(limit, self._settings.page_size))
        if records and empty_pages:
            following = self._iterator(shard, place, empty_pages - 1, now)
            return {"Records": [], "NextShardIterator": following}
        place += len(records)
        is_end = shard.ending is not None and place == len(shard.records)
        if is_end and (self._settings.records_with_last_page or not records):
            return {"Records": records}
        following = self._iterator(shard, place, self._settings.empty_pages if records else empty_pages, now)
        return {"Records": records, "NextShardIterator": following}

    def _shard(self, operation: str, shard_id: str) -> LogShard:
        shard = self._log.shards.get(shard_id)
        if shard is None or shard.vanished:
            raise _no_shard(operation, shard_id)
        return shard

    def _iterator(self, shard: LogShard, place: int, empty_pages: int, now: datetime) -> str:
        """All that there is to know is in the iterator itself; the first number makes it unique."""
        self._iterators += 1
        state = f"{self._iterators}/{shard.number}/{place}/{empty_pages}/{now.timestamp()}"
        return f"{self.description['StreamArn']}|1|{b64encode(state.encode()).decode()}"

    def cursor(self, iterator: str) -> Cursor:
        """What an iterator stands for."""
        try:
            arn, _, state = iterator.split("|")
            _, number, place, empty_pages, made_at = b64decode(state).decode().split("/")
            shard = self._log.numbered[int(number)]
            cursor = Cursor(shard, int(place), int(empty_pages), float(made_at))
        except (ValueError, IndexError):
            raise _invalid("GetRecords", "Invalid ShardIterator") from None
        if arn != self.description["StreamArn"]:
            raise client_error("ResourceNotFoundException", "GetRecords")
        return cursor


def _describe(shard: LogShard) -> dict[str, Any]:
    numbers = {"StartingSequenceNumber": str(shard.starting)}
    if shard.ending is not None:
        numbers["EndingSequenceNumber"] = str(shard.ending)
    description = {"ShardId": shard.id, "SequenceNumberRange": numbers}
    if shard.parent_id is not None:
        description["ParentShardId"] = shard.parent_id
    return description


def _invalid(operation: str, message: str) -> ClientError:
    return client_error("ValidationException", operation, message)


def _no_shard(operation: str, shard_id: str) -> ClientError:
    message = f"Requested resource not found: Shard: {shard_id} not found"
    return client_error("ResourceNotFoundException", operation, message)


def _aware(time: Any) -> datetime:
    """A timestamp as boto3 understands it: seconds, ISO 8601, or a datetime (naive: local time)."""
    if isinstance(time, int | float):
        return datetime.fromtimestamp(time, UTC)
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    if isinstance(time, datetime):
        return time.astimezone(UTC)
    raise _invalid("GetShardIterator", "Timestamp is missing")
