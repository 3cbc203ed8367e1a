"""Printing changes: in which formats, and in which colours."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rxddbstream.cli.terminal import add_color, brush_of
from rxddbstream.errors import ConfigurationError
from rxddbstream.views.printing import put

if TYPE_CHECKING:
    from rxddbstream.model.change import Change
    from rxddbstream.views.text import Line

FORMATS = ("record", "summary", "json", "dynamodb-json", "diff")
TEMPLATE = "template="

EVENTS = {"INSERT": "green", "MODIFY": "yellow", "REMOVE": "red"}
STYLES = {"time": "dim", "added": "green", "changed": "yellow", "removed": "red"}
"""Of an event, and of the other parts of a line, as rich names them."""


def add_printing(parser: argparse.ArgumentParser, default: str = "record") -> None:
    """How changes are printed."""
    parser.set_defaults(default_format=default)
    group = parser.add_argument_group("how they are printed, in several formats if you like")
    add = group.add_argument
    as_format: dict[str, Any] = {"dest": "formats", "action": "append_const"}
    add("-pr", "--print-record", **as_format, const="record", help="the record as boto3 returns it")
    add("-ps", "--print-summary", **as_format, const="summary", help="one line: time, event, keys")
    add(
        "-o",
        "--format",
        dest="formats",
        action="append",
        type=_format,
        metavar="FORMAT",
        help="summary, record, json (an object a line), dynamodb-json (with DynamoDB's types), diff (what "
        "changed, an attribute a line), or template='{keys} {event_name} {new_image.address.city}'; "
        f"by default {default}",
    ).completer = lambda **_: (*FORMATS, TEMPLATE)  # type: ignore[attr-defined]
    add("--query", metavar="JMESPATH", help="print what this finds in the change's JSON")
    add_color(group)


def printer_of(args: argparse.Namespace) -> Callable[[Change], None]:
    """What prints a change as `add_printing`'s options say.

    Raises:
        ConfigurationError: a template or a query that is none, or one that goes with no other option.
    """
    brush = brush_of(args.color)
    lines = [_lines_of(name) for name in _formats(args)]
    if args.query is not None:
        lines = [_whole(_query(args.query, args.formats or ["json"]))]

    def print_change(change: Change) -> None:
        styles = {**STYLES, "event": EVENTS.get(change.event_name, "")}
        for of in lines:
            for line in of(change):
                text = "".join(brush(part, styles.get(role, "")) for part, role in line)
                put(text)

    return print_change


def _format(text: str) -> str:
    if text in FORMATS or text.startswith(TEMPLATE):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(FORMATS)}, {TEMPLATE}'...'")


def _formats(args: argparse.Namespace) -> list[str]:
    """In the order of the original, however they are given; templates come last."""
    given = dict.fromkeys(args.formats or [args.default_format])
    return [*(name for name in FORMATS if name in given), *(name for name in given if name not in FORMATS)]


def _lines_of(name: str) -> Callable[[Change], Iterable[Line]]:
    from rxddbstream.views import text
    from rxddbstream.views.template import Template

    if name == "summary":
        return lambda change: (text.summary(change),)
    if name == "diff":
        return text.diff
    if name.startswith(TEMPLATE):
        return _whole(Template(name.removeprefix(TEMPLATE)).line)
    texts = {"record": text.record, "json": text.to_json, "dynamodb-json": text.to_dynamodb_json}
    return _whole(texts[name])


def _whole(text: Callable[[Change], str]) -> Callable[[Change], Iterable[Line]]:
    from rxddbstream.views.text import Segment

    return lambda change: ([Segment(text(change), "event")],)


def _query(text: str, names: list[str]) -> Callable[[Change], str]:
    import jmespath
    import msgspec
    from jmespath import exceptions

    from rxddbstream.model.change import place_of
    from rxddbstream.views.text import json_text, to_dynamodb_json, to_json

    to_text = {"json": to_json, "dynamodb-json": to_dynamodb_json}
    if len(names) > 1 or names[0] not in to_text:
        raise ConfigurationError("--query goes with -o json or -o dynamodb-json, and with no other format")
    try:
        query = jmespath.compile(text)
    except exceptions.JMESPathError as error:
        raise ConfigurationError(f"--query: {' '.join(str(error).split())}") from error
    decode = msgspec.json.Decoder(float_hook=_number).decode

    def found(change: Change) -> str:
        looked_at = decode(to_text[names[0]](change))
        try:
            return json_text(query.search(looked_at))
        except exceptions.JMESPathTypeError as error:  # a function of something else
            # Its own text has the value in it, which is an item's.
            raise ConfigurationError(
                f"--query: {error.function_name}() takes {' or '.join(error.expected_types)}, "
                f"not {error.actual_type}"
            ) from None
        except exceptions.JMESPathError as error:
            raise ConfigurationError(f"--query: {' '.join(str(error).split())}") from error
        except Exception as error:
            # Its functions look at a type or two, and what they then do raises what it likes.
            raise ConfigurationError(
                f"--query cannot work with the values of {place_of(change)}: {type(error).__name__}"
            ) from error

    return found


def _number(text: str) -> float | Decimal:
    # JMESPath's functions know floats alone, which are good for 17 digits.
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else Decimal(text)
