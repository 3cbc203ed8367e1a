"""The client double: boto3's `dynamodbstreams` client, as far as a reader of streams needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from botocore.exceptions import ParamValidationError

Answer: TypeAlias = dict[str, Any]

_TEXT, _INT, _MAP, _TIME = (str,), (int,), (dict,), (datetime, int, float, str)

# What boto3 takes, by operation; the required ones are those of `_REQUIRED`.
PARAMETERS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "ListStreams": {"TableName": _TEXT, "Limit": _INT, "ExclusiveStartStreamArn": _TEXT},
    "DescribeStream": {
        "StreamArn": _TEXT,
        "Limit": _INT,
        "ExclusiveStartShardId": _TEXT,
        "ShardFilter": _MAP,
    },
    "GetShardIterator": {
        "StreamArn": _TEXT,
        "ShardId": _TEXT,
        "ShardIteratorType": _TEXT,
        "SequenceNumber": _TEXT,
        "Timestamp": _TIME,
    },
    "GetRecords": {"ShardIterator": _TEXT, "Limit": _INT},
}
_REQUIRED = {
    "ListStreams": (),
    "DescribeStream": ("StreamArn",),
    "GetShardIterator": ("StreamArn", "ShardId", "ShardIteratorType"),
    "GetRecords": ("ShardIterator",),
}
# Shorter than that (or smaller, for a number) and boto3 does not even send it.
_SHORTEST = {
    "TableName": 3,
    "StreamArn": 37,
    "ExclusiveStartStreamArn": 37,
    "ShardId": 28,
    "ExclusiveStartShardId": 28,
    "SequenceNumber": 21,
    "ShardIterator": 1,
    "Limit": 1,
}


class SimulatedClient:
    """Takes the calls, the arguments and gives the answers and errors of boto3's client.

    It is made by `SimulatedStream`, as its `client`; many threads may use it at once.

    >>> from rxddbstream.testing import SimulatedStream
    >>> sim = SimulatedStream("orders")
    >>> sim.client.list_streams(TableName="orders")["Streams"][0]["TableName"]
    'orders'
    """

    def __init__(self, call: Callable[[str, dict[str, Any]], Answer]) -> None:
        self._call = call

    def list_streams(self, **arguments: Any) -> Answer:
        """`TableName=`, `Limit=`, `ExclusiveStartStreamArn=`, all optional."""
        return self._checked_call("ListStreams", arguments)

    def describe_stream(self, **arguments: Any) -> Answer:
        """`StreamArn=`, and optionally `Limit=`, `ExclusiveStartShardId=`, `ShardFilter=`."""
        return self._checked_call("DescribeStream", arguments)

    def get_shard_iterator(self, **arguments: Any) -> Answer:
        """`StreamArn=`, `ShardId=`, `ShardIteratorType=`, `SequenceNumber=` or `Timestamp=`."""
        return self._checked_call("GetShardIterator", arguments)

    def get_records(self, **arguments: Any) -> Answer:
        """`ShardIterator=`, and optionally `Limit=` (records)."""
        return self._checked_call("GetRecords", arguments)

    def close(self) -> None:
        """There is nothing to close; boto3's client has it too."""

    def _checked_call(self, operation: str, arguments: dict[str, Any]) -> Answer:
        """Refuse what boto3 refuses: a double that took more would hide mistakes from a test."""
        known = PARAMETERS[operation]
        problems = [
            f'Missing required parameter in input: "{name}"'
            for name in _REQUIRED[operation]
            if name not in arguments
        ]
        for name, value in arguments.items():
            if name not in known:
                names = ", ".join(known)
                problems.append(f'Unknown parameter in input: "{name}", must be one of: {names}')
            elif not isinstance(value, known[name]) or isinstance(value, bool):
                kinds = ", ".join(str(kind) for kind in known[name])
                problems.append(
                    f"Invalid type for parameter {name}, value: {value}, "
                    f"type: {type(value)}, valid types: {kinds}"
                )
            elif isinstance(value, str | int) and name in _SHORTEST:
                size, least = len(value) if isinstance(value, str) else value, _SHORTEST[name]
                if size < least:
                    what = "length" if isinstance(value, str) else "value"
                    problems.append(
                        f"Invalid {what} for parameter {name}, value: {size}, valid min {what}: {least}"
                    )
        if problems:
            raise ParamValidationError(report="\n".join(problems))
        return self._call(operation, arguments)
