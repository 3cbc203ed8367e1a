"""Whether a shard may be read, and from which places."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from rxddbstream.cli.doctor.calls import Calls
from rxddbstream.cli.doctor.finding import Finding, resource_of_stream
from rxddbstream.errors import (
    AccessDenied,
    CredentialsError,
    IteratorTrimmed,
    RequestFailed,
    ShardFault,
    ShardNotFound,
    StreamError,
    Throttled,
    TransientError,
)

AGO = timedelta(minutes=5)


class ShardToTry:
    """One shard of the stream, which the checks open and read a record of.

    Args:
        client: for `dynamodbstreams`.
    """

    def __init__(self, client: Any, arn: str, shard_id: str, calls: Calls) -> None:
        self._client = client
        self._arn = arn
        self._id = shard_id
        self._calls = calls

    def check_iterators(self) -> Finding:
        """Whether it may be opened at its two ends."""
        try:
            for kind in ("TRIM_HORIZON", "LATEST"):
                self._open(ShardIteratorType=kind)
        except ShardNotFound:
            return _gone("iterator", self._id)
        except StreamError as error:
            return self._failed("iterator", error, "GetShardIterator")
        return Finding("ok", "iterator", f"TRIM_HORIZON and LATEST, of shard {self._id}")

    def check_records(self) -> Finding:
        """Whether its oldest record may be read, if it has one."""
        try:
            records = self._first_record(ShardIteratorType="TRIM_HORIZON")
        except ShardNotFound:
            return _gone("records", self._id)
        except Throttled as error:
            finding = self._failed("records", error, "GetRecords")
            readers = "a shard takes two readers at a time, one of a global table, and this check is one"
            advice = f"{finding.advice}; {readers}"
            return finding._replace(advice=advice)
        except StreamError as error:
            return self._failed("records", error, "GetRecords")
        found = "its oldest record was read" if records else "allowed; the first page has none"
        readers = "For a moment this was one of the shard's readers, of which there may be two"
        return Finding("ok", "records", f"{found}. {readers}")

    def check_at_timestamp(self, now: datetime) -> Finding:
        """Whether it can be opened at a time: a while before this one."""
        try:
            # Some make such an iterator, and refuse it when it is used.
            self._first_record(ShardIteratorType="AT_TIMESTAMP", Timestamp=now - AGO)
        except (AccessDenied, CredentialsError) as error:
            return self._failed("at timestamp", error, "GetRecords")
        except (RequestFailed, TransientError):
            text = "not known: a start such as 15m reads from the oldest change, and drops what came before"
            advice = "Nothing to do: it takes longer, and loses nothing. On AWS itself, update boto3"
            return Finding("warn", "at timestamp", text, advice)
        except ShardFault:
            return _gone("at timestamp", self._id)
        return Finding("ok", "at timestamp", "known: a start such as 15m is looked up by the service")

    def _first_record(self, **where: Any) -> Any:
        try:
            return self._read(self._open(**where))
        except IteratorTrimmed:  # what is oldest has moved on meanwhile
            return self._read(self._open(**where))

    def _open(self, **where: Any) -> str:
        answer = self._calls.ask(
            self._client, "get_shard_iterator", StreamArn=self._arn, ShardId=self._id, **where
        )
        iterator: str | None = answer.get("ShardIterator")
        if not iterator:
            raise RequestFailed("GetShardIterator answers without one")
        return iterator

    def _read(self, iterator: str) -> Any:
        return self._calls.ask(self._client, "get_records", ShardIterator=iterator, Limit=1).get("Records")

    def _failed(self, what: str, error: StreamError, operation: str) -> Finding:
        return self._calls.failed(what, error, operation, resource_of_stream(self._arn))


def _gone(what: str, shard_id: str) -> Finding:
    advice = "Run it again: a shard that has just been listed, or is about to go, is denied for a while"
    return Finding("fail", what, f"the service lists shard {shard_id} and denies it", advice)
