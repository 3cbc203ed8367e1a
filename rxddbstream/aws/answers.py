"""What an answer must have, whoever decoded it: botocore lets most values pass as they come.

an answer of another kind     MalformedAnswer, and the call is made again
a record of another kind      DecodeError: another call would bring it again
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from rxddbstream.errors import DecodeError, MalformedAnswer
from rxddbstream.model.record import DETAIL, FIELDS, EncodedRecord
from rxddbstream.model.times import EPOCH

MOST_AHEAD = timedelta(days=365_000)  # a thousand years: far from the end of datetime's calendar

T = TypeVar("T")


class _Range(msgspec.Struct):
    EndingSequenceNumber: str | None = None


class _Shard(msgspec.Struct):
    ShardId: str
    ParentShardId: str | None = None
    SequenceNumberRange: _Range | None = None


class _Key(msgspec.Struct):
    AttributeName: str


class _Description(msgspec.Struct):
    Shards: list[_Shard] | None = None
    KeySchema: list[_Key] | None = None
    LastEvaluatedShardId: str | None = None
    StreamStatus: str | None = None


class DescribeStream(msgspec.Struct):
    """An answer of DescribeStream."""

    StreamDescription: _Description


class GetShardIterator(msgspec.Struct):
    """An answer of GetShardIterator."""

    ShardIterator: str | None = None


class GetRecords(msgspec.Struct):
    """An answer of GetRecords, whose records are another matter."""

    Records: list[Any] | None = None
    NextShardIterator: str | None = None


class _Specification(msgspec.Struct):
    StreamEnabled: bool | None = None


class _Table(msgspec.Struct):
    LatestStreamArn: str | None = None
    TableStatus: str | None = None
    StreamSpecification: _Specification | None = None


class DescribeTable(msgspec.Struct):
    """An answer of DescribeTable."""

    Table: _Table


class _Stream(msgspec.Struct):
    StreamArn: str
    StreamLabel: str | None = None


class ListStreams(msgspec.Struct):
    """An answer of ListStreams."""

    Streams: list[_Stream]
    LastEvaluatedStreamArn: str | None = None


class _Detail(msgspec.Struct, rename=DETAIL):
    keys: dict[str, Any] | None = None
    new_image: dict[str, Any] | None = None
    old_image: dict[str, Any] | None = None
    sequence_number: str | None = None
    size_bytes: int | float | None = None
    view_type: str | None = None


class _Record(msgspec.Struct, rename=FIELDS):
    # What a Change has no attribute for may be as it likes.
    event_id: str | None = None
    event_name: str | None = None
    detail: _Detail | None = None
    user_identity: dict[str, Any] | None = None


def check(answer: object, kind: type[T], doing: str) -> None:
    """Refuse an answer that is of another kind.

    Raises:
        MalformedAnswer: it is; the message says where, and no word of what is there.

    >>> check({"Table": 5}, DescribeTable, "it")
    Traceback (most recent call last):
    rxddbstream.errors.MalformedAnswer: it: not an answer to that: Expected `object`, got `int` - at `$.Table`
    """
    try:
        msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise MalformedAnswer(f"{doing}: not an answer to that: {error}") from error


def check_records(records: Sequence[Any], shard: str) -> None:
    """Refuse records that are none, or that have no place in their shard.

    For speed, of those that are decoded from JSON the last one is looked at alone: it is the one that most
    often counts. Their kinds were checked when they were decoded.

    Raises:
        DecodeError: there is one.
    """
    to_check = records[-1:] if isinstance(records[0], EncodedRecord) else records
    try:
        msgspec.convert([one for one in to_check if not isinstance(one, EncodedRecord)], list[_Record])
    except msgspec.ValidationError as error:
        raise DecodeError(f"a record of {shard} is not as DynamoDB documents it: {error}") from error
    # Without a place there is no going on behind a checkpoint, or after an iterator has expired.
    numbers = ((one.get("dynamodb") or {}).get("SequenceNumber") or "" for one in to_check)
    if not all(number.isdecimal() for number in numbers):
        raise DecodeError(
            f"a record of {shard} has no sequence number, a string of digits: what answers there is no "
            "DynamoDB Streams, or a double that leaves it out"
        )


def date_of(header: object) -> datetime | None:
    """The time that a Date header tells; None of what is none.

    One at an end of the calendar is none either: nothing can be counted from there, and stubs have it for
    "never".

    >>> date_of("Fri, 27 May 2022 13:36:13 GMT"), date_of("Fri, 31 Dec 9999 23:59:59 -1200"), date_of(None)
    (datetime.datetime(2022, 5, 27, 13, 36, 13, tzinfo=datetime.timezone.utc), None, None)
    """
    try:
        date = parsedate_to_datetime(header if isinstance(header, str) else "").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return date if EPOCH < date < EPOCH + MOST_AHEAD else None


def is_of_a_record(error: BaseException | None) -> bool:
    """Whether botocore's own parser raised it while it was busy with one of an answer's records."""
    while error is not None:
        if ("botocore.parsers", "_handle_list") in _frames(error):
            return True
        error = error.__cause__
    return False


def is_of_an_answer(error: BaseException) -> bool:
    """Whether botocore could not make anything of an answer: an odd one makes its parser raise anything."""
    frames = _frames(error)
    # Where the answer is JSON's null, the parser returns None, which its caller trips over.
    return came_through(error, "botocore.parsers") or (
        frames[-1:] == [("botocore.endpoint", "_do_get_response")]
    )


def came_through(error: BaseException, *modules: str) -> bool:
    """Whether it was raised in one of these modules, or below."""
    return any(where in modules for where, _ in _frames(error))


def _frames(error: BaseException) -> list[tuple[str, str]]:
    """The modules and functions that an error came through, the one that raised it last."""
    frames = []
    at: TracebackType | None = error.__traceback__
    while at is not None:
        frames.append((at.tb_frame.f_globals.get("__name__", ""), at.tb_frame.f_code.co_name))
        at = at.tb_next
    return frames
