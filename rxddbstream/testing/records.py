"""Stream records as boto3 returns them: Python values in, DynamoDB JSON out."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from hashlib import md5
from typing import Any, TypeAlias

from rxddbstream.model.record import EncodedRecord

Record: TypeAlias = dict[str, Any]
Image: TypeAlias = dict[str, dict[str, Any]]


def image_of(attributes: dict[str, Any]) -> Image:
    """An item in DynamoDB JSON.

    >>> image_of({"id": "a", "n": 1, "tags": ["x"]})
    {'id': {'S': 'a'}, 'n': {'N': '1'}, 'tags': {'L': [{'S': 'x'}]}}
    """
    return {name: _to_dynamodb(value) for name, value in attributes.items()}


def _to_dynamodb(value: Any) -> dict[str, Any]:
    kind = type(value)
    if kind is str:  # strings and integers are most of what tests write, by the 100,000
        return {"S": value}
    if kind is int:
        return {"N": str(value)}
    if isinstance(value, list | tuple):
        return {"L": [_to_dynamodb(element) for element in value]}
    if isinstance(value, dict):
        return {"M": image_of(value)}
    typed: dict[str, Any] = _serializer().serialize(value)
    if isinstance(value, set | frozenset):  # whose order differs from process to process
        return {name: sorted(elements) for name, elements in typed.items()}
    return typed


@cache
def _serializer() -> Any:
    from boto3.dynamodb.types import TypeSerializer  # late: boto3 takes a while to import

    return TypeSerializer()


def hash_of(item: str) -> int:
    """Where an item stands in the hash space; the same in every process."""
    return int.from_bytes(md5(item.encode(), usedforsecurity=False).digest())


def build_record(
    *,
    sequence_number: int,
    created_at: datetime,
    region: str,
    view_type: str,
    keys: Image,
    old: Image | None,
    new: Image | None,
    user_identity: dict[str, str] | None = None,
) -> Record:
    """One change, with as much of the images as the view type shows."""
    change: dict[str, Any] = {"ApproximateCreationDateTime": created_at, "Keys": keys}
    if new is not None and "NEW" in view_type:
        change["NewImage"] = new
    if old is not None and "OLD" in view_type:
        change["OldImage"] = old
    change["SequenceNumber"] = str(sequence_number)
    change["SizeBytes"] = sum(
        _size(change[part]) for part in ("Keys", "NewImage", "OldImage") if part in change
    )
    change["StreamViewType"] = view_type
    record: Record = {
        "eventID": f"{sequence_number:032x}",
        "eventName": "INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "dynamodb": change,
    }
    if user_identity is not None:
        record["userIdentity"] = user_identity
    return record


def _size(image: Image) -> int:
    """Roughly what DynamoDB counts: the names and the values."""
    total = 0
    for name, typed in image.items():
        for value in typed.values():
            total += len(name) + len(value if type(value) in (str, bytes) else repr(value))
    return total


def sequence_number_of(record: Record | EncodedRecord) -> int:
    return int(record.get("dynamodb", {}).get("SequenceNumber"))


def creation_time_of(record: Record) -> datetime:
    created_at: datetime = record["dynamodb"]["ApproximateCreationDateTime"]
    return created_at
