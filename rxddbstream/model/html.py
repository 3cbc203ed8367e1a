"""A change as a small table in HTML, as notebooks show it.

What has changed is bold, and what has not is faint. There are no colours of its own, so that it can be read
on a light page and on a dark one.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any, NamedTuple, Protocol

from rxddbstream.errors import DecodeError
from rxddbstream.model.values import same
from rxddbstream.model.words import counted

LONGEST = 120
"""How many characters of a value are shown."""

LEAD_IN = 20  # characters that two long values have in common, before they differ
MOST_ROWS = 100

_LEFT = "text-align:left;vertical-align:top;overflow-wrap:anywhere"
_FAINT = "opacity:.6"
_BOLD = "font-weight:bold"


class Shown(Protocol):
    """What is shown of a change: a `Change`, which this module knows by its members alone."""

    @property
    def event_name(self) -> str: ...
    @property
    def keys(self) -> Mapping[str, Any]: ...
    @property
    def old_image(self) -> Mapping[str, Any] | None: ...
    @property
    def new_image(self) -> Mapping[str, Any] | None: ...
    @property
    def has_time(self) -> bool: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def is_ttl_delete(self) -> bool: ...
    @property
    def shard_id(self) -> str: ...
    @property
    def sequence_number(self) -> str: ...
    @property
    def record(self) -> Mapping[str, Any]: ...
    @property
    def record_as_it_came(self) -> object: ...


class _Odd(NamedTuple):
    """An attribute that cannot be decoded, as it came."""

    text: str


class _Absent:
    """There is no such attribute."""


_ABSENT = _Absent()


def html(change: Shown) -> str:
    """What happened and when, the key, and each attribute before and after.

    It shows what it can of a record that cannot be decoded, and raises nothing.

    >>> from rxddbstream.model.change import Change
    >>> record = {"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "<1>"}}}}
    >>> "<td" in html(Change(record, "shard-1")), "&lt;1&gt;" in html(Change(record, "shard-1"))
    (True, True)
    """
    try:
        return _change(change)
    except Exception:  # noqa: BLE001 - a record that is none can fail in any way
        raw = escape(_cut(repr(change.record_as_it_came), 10 * LONGEST))
        return f"<div>a change that cannot be decoded:<pre>{raw}</pre></div>"


def _change(change: Shown) -> str:
    keys = _attributes(change, "Keys", change.keys)
    images = {
        title: _attributes(change, name, image)
        for title, name, image in (
            ("old", "OldImage", change.old_image),
            ("new", "NewImage", change.new_image),
        )
        if image is not None
    }
    names = list(dict.fromkeys([*keys, *(name for image in images.values() for name in image)]))
    rows = [_row(name, keys, images) for name in names[:MOST_ROWS]]
    titles = "".join(f'<th style="{_LEFT}">{title}</th>' for title in ("", *(images or ["value"])))
    remarks = [f"the {title} image is empty" for title, image in images.items() if not image]
    if len(names) > MOST_ROWS:
        remarks.append(f"and {counted(len(names) - MOST_ROWS, 'attribute')} more")
    when = change.created_at.isoformat() if change.has_time else "at an unknown time"
    by_ttl = ", as its time to live ran out" if change.is_ttl_delete else ""
    place = escape(f"shard {change.shard_id}, sequence number {change.sequence_number}")
    return (
        f'<div><span title="{place}"><b>{escape(change.event_name)}</b> {escape(when)}{by_ttl}</span>'
        f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f'<span style="{_FAINT}">{escape("; ".join(remarks))}</span></div>'
    )


def _attributes(change: Shown, member: str, image: Mapping[str, Any]) -> dict[str, Any]:
    """An image's attributes, as far as they can be decoded."""
    try:
        return dict(image.items())
    except DecodeError:
        return {name: _attribute(change, member, image, name) for name in image}


def _attribute(change: Shown, member: str, image: Mapping[str, Any], name: str) -> Any:
    try:
        return image[name]
    except DecodeError:
        return _Odd(repr(change.record["dynamodb"][member][name]))


def _row(name: str, keys: Mapping[str, Any], images: Mapping[str, Mapping[str, Any]]) -> str:
    otherwise = keys.get(name, _ABSENT)  # an image may leave out the key
    values = [image.get(name, otherwise) for image in images.values()] or [otherwise]
    label = escape(_cut(name, LONGEST))
    if name in keys:
        label += " <small>key</small>"
    style = _LEFT
    if len(values) == 2:
        style += f";{_FAINT if same(*values) else _BOLD}"
    cells = "".join(f'<td style="{style}">{cell}</td>' for cell in (label, *_shown(values)))
    return f"<tr>{cells}</tr>"


def _shown(values: Sequence[Any]) -> list[str]:
    """Values as texts; of long ones, the part in which they begin to differ."""
    texts = ["—" if value is _ABSENT else _text(value) for value in values]
    if len(texts) == 2 and texts[0] != texts[1]:
        old, new = texts
        differs_at = next((at for at in range(min(map(len, texts))) if old[at] != new[at]), 0)
        if differs_at > LONGEST // 2:
            texts = [f"…{text[differs_at - LEAD_IN :]}" for text in texts]
    return [escape(_cut(text, LONGEST)) for text in texts]


def _text(value: Any) -> str:
    """A value as Python writes it, but short, and the same each time."""
    match value:
        case _Odd(text):
            return f"{_cut(text, LONGEST - 25)} (cannot be decoded)"
        case str():
            return repr(value)
        case bytes():
            return f"{counted(len(value), 'byte')}: {b64encode(value[:LONGEST]).decode()}".removesuffix(": ")
        case Decimal():
            return str(value)
        case Mapping():
            return "{" + ", ".join(f"{name}: {_text(inner)}" for name, inner in value.items()) + "}"
        case Set():
            return "{" + ", ".join(sorted(map(_text, value))) + "}"
        case Sequence():
            return "[" + ", ".join(map(_text, value)) + "]"
    return repr(value)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
