"""The calls to the service: asking, and saying what went wrong.

One client serves all workers: boto3's clients are thread-safe, its sessions are not.
https://boto3.amazonaws.com/v1/documentation/api/latest/guide/clients.html#multithreading-or-multiprocessing-with-clients
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import botocore.exceptions as botocore_errors

from rxddbstream.aws import answers
from rxddbstream.aws.errors import explain
from rxddbstream.errors import (
    AccessDenied,
    DecodeError,
    MalformedAnswer,
    RequestFailed,
    ShardNotFound,
    StreamError,
    StreamNotFound,
)
from rxddbstream.model.messages import Iterator, Records
from rxddbstream.model.position import After, AtTime, Latest, Position, TrimHorizon
from rxddbstream.model.shard import Shard

log = logging.getLogger("rxddbstream")


class ShardPage(NamedTuple):
    """One page of DescribeStream.

    Attributes:
        shards: some of the stream's shards.
        next_shard_id: where the next page starts, None on the last one.
        enabled: whether the stream still takes changes.
        answered_at: the service's time of the answer.
        keys: the names of the table's key; empty where the service does not tell.
    """

    shards: list[Shard]
    next_shard_id: str | None
    enabled: bool
    answered_at: datetime
    keys: tuple[str, ...] = ()


class StreamClient:
    """What the library asks of one stream. Every failure is raised as a `StreamError`.

    Args:
        boto: a boto3 client for `dynamodbstreams`, or a double of one.
        arn: the stream's ARN.
        now: the time, for answers that come without a Date header.
        by_table: whether it was looked up by its table.

    Attributes:
        arn: the stream's ARN.
        by_table: whether it was looked up by its table, which may have had another one before.
        answered_at: the service's time of the last answer, be it an error.
    """

    def __init__(self, boto: Any, arn: str, now: Callable[[], datetime], *, by_table: bool = False) -> None:
        self.arn = arn
        self.by_table = by_table
        self._boto = boto
        self._now = now
        self.answered_at = self._noted_at = now()

    def of(self, arn: str) -> StreamClient:
        """The same for another stream."""
        return StreamClient(self._boto, arn, self._now)

    def streams_of_table(self) -> list[str]:
        """The ARNs of all streams that the table has had, and that can still be read.

        Empty where that may not be asked for: then only what this stream has is known.
        """
        table = self.arn.rpartition("/stream/")[0].rpartition(":table/")[2]
        doing, arns = f"listing the streams of table {table!r}", []
        arguments: dict[str, Any] = {"TableName": table}
        asked: set[str] = set()
        try:
            while arguments:
                answer, _ = self._ask(
                    "list_streams", arguments, doing, self._missing_stream, answers.ListStreams
                )
                arns += [stream["StreamArn"] for stream in answer["Streams"]]
                last = answer.get("LastEvaluatedStreamArn")
                if last in asked:
                    raise MalformedAnswer(f"{doing}: it leads back to {last}, where it was before")
                asked.add(last)
                arguments = arguments | {"ExclusiveStartStreamArn": last} if last else {}
        except (AccessDenied, RequestFailed, StreamNotFound) as error:
            log.warning("a stream that table %r had in between is not looked for: %s", table, error)
        return arns

    @property
    def time(self) -> datetime:
        """The service's time by now: that of its last answer, and what has passed since by our clock."""
        return self.answered_at + (self._now() - self._noted_at)

    def list_shards(self, after: str | None = None, children_of: str | None = None) -> ShardPage:
        """A page of the listing, or of one shard's children where the service can filter them."""
        arguments: dict[str, Any] = {"StreamArn": self.arn}
        if after is not None:
            arguments["ExclusiveStartShardId"] = after
        if children_of is not None:
            arguments["ShardFilter"] = {"Type": "CHILD_SHARDS", "ShardId": children_of}
        doing = f"describing stream {self.arn}"
        answer, answered_at = self._ask(
            "describe_stream", arguments, doing, self._missing_stream, answers.DescribeStream
        )
        stream = answer["StreamDescription"]
        return ShardPage(
            shards=[Shard.from_description(shard) for shard in stream.get("Shards") or ()],
            next_shard_id=stream.get("LastEvaluatedShardId") or None,
            enabled=stream.get("StreamStatus") not in ("DISABLING", "DISABLED"),
            answered_at=answered_at,
            keys=tuple(key["AttributeName"] for key in stream.get("KeySchema") or ()),
        )

    def get_iterator(self, shard_id: str, position: Position) -> Iterator:
        """A shard iterator for a position."""
        arguments = {"StreamArn": self.arn, "ShardId": shard_id, **_iterator_arguments(position)}
        doing = f"opening shard {shard_id} of {self.arn}"
        answer, answered_at = self._ask(
            "get_shard_iterator", arguments, doing, ShardNotFound, answers.GetShardIterator
        )
        iterator = answer.get("ShardIterator")
        if not iterator:
            raise MalformedAnswer(f"GetShardIterator answered without one for shard {shard_id} of {self.arn}")
        return Iterator(iterator, answered_at)

    def get_records(self, shard_id: str, iterator: str) -> Records:
        """A page of records; up to 1,000 records or 1 MB."""
        arguments = {"ShardIterator": iterator}
        shard = f"shard {shard_id} of {self.arn}"
        try:
            answer, answered_at = self._ask(
                "get_records", arguments, f"reading {shard}", ShardNotFound, answers.GetRecords
            )
        except MalformedAnswer as error:
            if answers.is_of_a_record(error):  # which would come again, and again
                raise DecodeError(f"{error}; a record is not as DynamoDB documents it") from error.__cause__
            raise
        records = answer.get("Records")
        if records:
            answers.check_records(records, shard)
        return Records(records, answer.get("NextShardIterator"), answered_at)

    def _ask(
        self,
        operation: str,
        arguments: Mapping[str, Any],
        doing: str,
        not_found: Callable[[str], StreamError],
        kind: type[Any],
    ) -> tuple[Any, datetime]:
        try:
            answer = getattr(self._boto, operation)(**arguments)
        except Exception as error:
            if isinstance(error, botocore_errors.ClientError):
                self._note_time_of(error.response)
            raise explain(error, doing, not_found) from error
        answers.check(answer, kind, doing)
        return answer, self._note_time_of(answer)

    def _missing_stream(self, message: str) -> StreamNotFound:
        return StreamNotFound(
            f"there is no stream {self.arn}, or no longer: check the ARN, its region and account, and "
            "whether the table still exists"
        )

    def _note_time_of(self, answer: Any) -> datetime:
        # The service's clock, not ours: it is the one that the changes' times come from.
        headers = (answer.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
        answered_at = answers.date_of(headers.get("date")) or self._now()
        if answered_at != self.answered_at:  # a header has whole seconds: count from the first with this one
            self._noted_at = self._now()
            self.answered_at = answered_at  # last one wins; the threads' answers are close together
        return answered_at


def _iterator_arguments(position: Position) -> dict[str, Any]:
    match position:
        case Latest():
            return {"ShardIteratorType": "LATEST"}
        case TrimHorizon():
            return {"ShardIteratorType": "TRIM_HORIZON"}
        case AtTime(time):
            return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": time}
        case After(sequence_number):
            return {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "SequenceNumber": sequence_number,
            }
