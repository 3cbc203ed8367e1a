"""A change as a line of one's own: a format string over its attributes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from string import Formatter
from typing import Any

from rxddbstream.errors import ConfigurationError
from rxddbstream.model.change import Change
from rxddbstream.model.paths import MISSING, look_up, parse_path
from rxddbstream.model.words import printable
from rxddbstream.views.text import MOST_DIGITS, json_text, keys_text, local_text, number_text


class Template(Formatter):
    """A format string over a change: `{keys} {event_name} {new_image.address.city} {created_at:%H:%M}`.

    A field is one of a change's attributes; a path behind it leads into an image. A name with a dot in it
    stands in brackets: `{new_image[net.weight]}`. What is not there is empty. Times are local. `\\t` and
    `\\n` are a tab and a new line.

    Raises:
        ConfigurationError: it is no format string, or names what a change has not.

    >>> change = Change({"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "o-1"}}}}, "shard-1")
    >>> Template("{event_name}: {keys} {new_image.status}").line(change)
    'INSERT: id=o-1 '
    """

    FIELDS = (
        "created_at",
        "event_id",
        "event_name",
        "is_ttl_delete",
        "keys",
        "new_image",
        "old_image",
        "sequence_number",
        "shard_id",
        "size_bytes",
        "view_type",
    )

    def __init__(self, template: str) -> None:
        self._template = template.replace("\\t", "\t").replace("\\n", "\n")
        try:
            parts = list(self.parse(self._template))
        except ValueError as error:
            raise ConfigurationError(f"template {template!r}: {error}") from error
        for _, field, spec, conversion in parts:
            if field is not None:
                self._check(template, field)
            if spec and "{" in spec:
                raise ConfigurationError(f"template {template!r}: a field inside of a field's format")
            if conversion not in (None, "a", "r", "s"):
                raise ConfigurationError(f"template {template!r}: there is no conversion {conversion!r}")

    def _check(self, template: str, field: str) -> None:
        name, path = _split(field)
        if name not in self.FIELDS:
            raise ConfigurationError(
                f"template {template!r}: a change has no {name!r}; it has {', '.join(self.FIELDS)}"
            )
        if path:
            if name not in ("keys", "new_image", "old_image"):
                raise ConfigurationError(f"template {template!r}: there is nothing inside of {name!r}")
            parse_path(path)

    def line(self, change: Change) -> str:
        """The text for a change."""
        return self.vformat(self._template, (), {"change": change})

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        """The value that a field names."""
        name, path = _split(field_name)
        change = kwargs["change"]
        if not path:
            return (_Text(keys_text(change)) if name == "keys" else getattr(change, name)), name
        image = getattr(change, name)
        return (MISSING if image is None else look_up(image, parse_path(path))), name

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        """A value as `!r`, `!s` or `!a` has it; what is not there stays so."""
        is_there = value is not None and value is not MISSING
        return super().convert_field(value, conversion) if is_there and conversion is not None else value

    def format_field(self, value: Any, format_spec: str) -> str:
        """A value as text; in its own format where it knows the one that is asked for."""
        if isinstance(value, datetime):
            value = value.astimezone()  # in the local time zone, with a format as without
            if not format_spec:
                return local_text(value)
        text = "" if value is None or value is MISSING else _text(value)
        if isinstance(value, Decimal) and abs(value.adjusted()) > MOST_DIGITS:
            value = text
        if isinstance(value, Decimal) and format_spec and format_spec[-1] not in "eEfFgGn%":
            format_spec += "f"  # else 0.0000001 is 1E-7
        # With "c" a number would be a character, of whatever sort.
        has_own = (
            isinstance(value, int | Decimal | datetime)
            and not isinstance(value, bool)
            and (isinstance(value, datetime) or not format_spec.endswith("c"))
        )
        for each in (value, text) if has_own else (text,):
            try:
                return format(each, format_spec) if format_spec else text
            except (ValueError, OverflowError):
                pass
        return text


class _Text(str):
    """Text that is printable already."""

    __slots__ = ()


def _split(field: str) -> tuple[str, str]:
    found = re.match(r"(\w*)\.?(.*)", field, re.DOTALL)
    assert found is not None
    # In brackets, format strings have names without quotes.
    return found[1], _UNQUOTED.sub(lambda name: f"[{json.dumps(name[1])}]", found[2])


_UNQUOTED = re.compile(r"""\[((?!\d+\])[^\]"'][^\]]*)\]""")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value if isinstance(value, _Text) else printable(value)
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        return printable(json_text(value).strip('"'))
    return number_text(value) if isinstance(value, Decimal) else str(value)
