"""A change as text: one line for a person, JSON for a program, or what it changed.

Each line comes in segments with a role, for whoever wants to colour them: `text_of` puts them together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from rxddbstream.errors import DecodeError
from rxddbstream.model.change import Change, place_of
from rxddbstream.model.diff import diff_of
from rxddbstream.model.encoding import encode, words_of
from rxddbstream.model.record import as_json
from rxddbstream.model.words import printable

Role: TypeAlias = Literal["", "event", "time", "added", "removed", "changed"]


class Segment(NamedTuple):
    """A part of a line.

    Attributes:
        text: what it says.
        role: what it is; "" for the rest of the line.
    """

    text: str
    role: Role = ""


Line: TypeAlias = list[Segment]

MOST_DIGITS = 130
"""DynamoDB's numbers go from 1E-130 to 9.9E+125.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""


def text_of(line: Line) -> str:
    """A line without the roles."""
    return "".join(segment.text for segment in line)


def summary(change: Change) -> Line:
    """When, what and which item, in the local time zone.

    Such as `[2022-05-27T15:36:13+02:00] - MODIFY - PK=test, SK=item`.
    """
    return [
        Segment(f"[{local_text(change.created_at)}]", "time"),
        Segment(" - "),
        Segment(f"{printable(change.event_name):^6}", "event"),
        Segment(f" - {keys_text(change)}"),
    ]


def record(change: Change) -> str:
    """The dict that boto3 returns for it."""
    return str(change.record)


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
    return json_text(line)


def to_dynamodb_json(change: Change) -> str:
    """The record as one line of JSON, with DynamoDB's types: as the service sends it, and Lambda gets it."""
    try:
        return _without_controls(as_json(change.record_as_it_came).decode())
    except UnicodeDecodeError as error:
        raise DecodeError(f"{place_of(change)}: not an item: {words_of(error)}") from error


def diff(change: Change) -> Iterator[Line]:
    """The summary, and below it a line for each attribute that is new, has gone or has another value.

        [2022-05-27T15:36:13+02:00] - MODIFY - id=o-1
          ~ status: "new" -> "paid"
          + address.city: "Ulm"
          - note: "in a hurry"

    Raises:
        ConfigurationError: the stream leaves out an image.
    """
    did = diff_of(change)
    yield summary(change)
    keys = change.keys
    for name, (old, new) in sorted(did.changed.items()):
        yield from _changed(name, old, new)
    for name, value in sorted(did.added.items()):
        if name not in keys:
            yield _told(f"  + {name}: {json_text(value)}", "added")
    for name, value in sorted(did.removed.items()):
        if name not in keys:
            yield _told(f"  - {name}: {json_text(value)}", "removed")


def _changed(path: str, old: Any, new: Any) -> Iterator[Line]:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        yield _told(f"  ~ {path}: {json_text(old)} -> {json_text(new)}", "changed")
        return
    for name in sorted({*old, *new}):
        inner = f"{path}.{name}"
        if name not in new:
            yield _told(f"  - {inner}: {json_text(old[name])}", "removed")
        elif name not in old:
            yield _told(f"  + {inner}: {json_text(new[name])}", "added")
        elif json_text(old[name]) != json_text(new[name]):
            yield from _changed(inner, old[name], new[name])


def _told(text: str, role: Role) -> Line:
    return [Segment(printable(text), role)]


def json_text(value: Any) -> str:
    """A value as JSON, on one line."""
    return _without_controls(encode(_ENCODER, value).decode())


def _without_controls(text: str) -> str:
    """The same JSON without U+007F to U+009F, which move some terminals' cursors, and JSON allows."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def number_text(number: Decimal) -> str:
    """A number without an exponent, which str() would give 0.0000001; one that is none of DynamoDB's has one.

    >>> number_text(Decimal("1E-7")), number_text(Decimal("1E9999999"))
    ('0.0000001', '1E+9999999')
    """
    return f"{number:f}" if abs(number.adjusted()) <= MOST_DIGITS else str(number)


def keys_text(change: Change) -> str:
    """An item's key: `PK=test, SK=item`."""
    return ", ".join(
        printable(f"{name}={number_text(value) if isinstance(value, Decimal) else value}")
        for name, value in sorted(change.keys.items())
    )


def local_text(time: datetime) -> str:
    """A time as ISO 8601 in the local time zone."""
    return time.astimezone().isoformat(timespec="seconds")


def _dict(image: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if image is None else dict(image)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):  # an image
        return dict(value)
    raise NotImplementedError(f"not an attribute's value: {type(value).__name__}")


_CONTROLS = re.compile("[\x7f-\x9f]")
_ENCODER = msgspec.json.Encoder(decimal_format="number", order="deterministic", enc_hook=_plain)
