"""Paths to attributes, also inside of maps and lists.

status                      an attribute
address.city                a member of a map
lines[0].qty                of an element of a list
["net.weight"][0]           a name that has dots or brackets, quoted as in JSON or by '
("prices", "a.b", 0)        the same as a tuple, for names that have dots or brackets
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from rxddbstream.errors import ConfigurationError

Path: TypeAlias = str | tuple[str | int, ...]
"""What people write."""

Parts: TypeAlias = tuple[str | int, ...]

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()
"""What is at the end of a path that leads nowhere."""

_STEP = re.compile(r"""\.?([^.\[\]]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|\['([^']+)'\]""")


def parse_path(path: Path) -> Parts:
    """The parts of a path: names as strings, positions as integers.

    Raises:
        ConfigurationError: it is none.

    >>> parse_path("lines[0].qty"), parse_path('order["net.weight"]')
    (('lines', 0, 'qty'), ('order', 'net.weight'))
    """
    parts = _split(path) if isinstance(path, str) else path
    if not (isinstance(parts, tuple) and parts and isinstance(parts[0], str) and all(map(_is_part, parts))):
        raise ConfigurationError(
            f"not a path to an attribute: {path!r}; write 'status', 'address.city', 'lines[0].qty', "
            "and where a name has a dot or a bracket lines[0]['net.weight'], or a tuple of the parts: "
            "('lines', 0, 'net.weight')"
        )
    return parts


def _is_part(part: Any) -> bool:
    return (isinstance(part, str) and part != "") or (type(part) is int and part >= 0)


def _split(path: str) -> Parts:
    parts: list[str | int] = []
    end = 0
    while found := _STEP.match(path, end):
        if found[1] and found[0].startswith(".") is not bool(parts):
            return ()  # a dot at the beginning, or none where there should be one
        name, place, in_json, quoted = found.groups()
        try:
            parts.append(int(place) if place else json.loads(in_json) if in_json else name or quoted)
        except ValueError:  # an escape that is none, or a number of thousands of digits
            return ()
        end = found.end()
    return tuple(parts) if end == len(path) else ()


def look_up(item: Mapping[str, Any], path: Parts) -> Any:
    """The value at the end of a path; `MISSING` where there is none.

    >>> look_up({"lines": [{"qty": 2}]}, ("lines", 0, "qty"))
    2
    """
    value: Any = item
    for part in path:
        has_parts = isinstance(value, Mapping) if isinstance(part, str) else isinstance(value, list)
        if not has_parts:
            return MISSING
        try:
            value = value[part]
        except LookupError:
            return MISSING
    return value
