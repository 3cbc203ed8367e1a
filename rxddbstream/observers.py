"""Observers that print: one line a change, boto3's record, or JSON.

Each line is flushed, so that a pipe shows it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from rxddbstream.core.model import Change


def print_summary(change: Change) -> None:
    """Print when, what and which item, in the local time zone.

    Such as `[2022-05-27T15:36:13+02:00] - MODIFY - PK=test, SK=item`.
    """
    print(summary(change), flush=True)


def print_change_record(change: Change) -> None:
    """Print the change as the dict that boto3 returns for it."""
    print(change.record, flush=True)


def print_json(change: Change) -> None:
    """Print the change as one line of JSON."""
    print(to_json(change), flush=True)


def summary(change: Change) -> str:
    """What `print_summary` prints."""
    created_at = change.created_at.astimezone().isoformat(timespec="seconds")
    # As the service wrote them: a Decimal would print 0.0000001 as 1E-7.
    keys = ", ".join(
        f"{name}={value}"
        for name, typed in sorted(change.record["dynamodb"]["Keys"].items())
        for value in typed.values()
    )
    return f"[{created_at}] - {change.event_name:^6} - {keys}"


class _Line(msgspec.Struct):
    event_name: str
    keys: dict[str, Any]
    new_image: dict[str, Any] | None
    old_image: dict[str, Any] | None
    created_at: datetime
    sequence_number: str
    shard_id: str


def to_json(change: Change) -> str:
    """The change as one line of JSON, its members in a stable order.

    Numbers keep all their digits, binary is Base64, sets are sorted arrays, times are ISO 8601 in UTC.
    """
    line = _Line(
        event_name=change.event_name,
        keys=dict(change.keys),
        new_image=_dict(change.new_image),
        old_image=_dict(change.old_image),
        created_at=change.created_at,
        sequence_number=change.sequence_number,
        shard_id=change.shard_id,
    )
    return _ENCODER.encode(line).decode()


def _dict(image: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if image is None else dict(image)


_ENCODER = msgspec.json.Encoder(decimal_format="number", order="deterministic")
