"""Choosing changes: by event, by key, by Lambda's filter patterns."""

from __future__ import annotations

import argparse
import json
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from rxddbstream.errors import ConfigurationError

if TYPE_CHECKING:
    from reactivex import Observable

    from rxddbstream.model.change import Change

EVENTS = ("INSERT", "MODIFY", "REMOVE")
ENOUGH = 10
"""How many changes go by before it is told that none of them has what a pattern names."""


def add_choosing(parser: argparse.ArgumentParser) -> None:
    """Which changes are printed; all of these have to hold."""
    group = parser.add_argument_group("which changes; all of these have to hold")
    group.add_argument(
        "--event",
        dest="events",
        type=_events,
        action="extend",
        metavar="NAME,...",
        help="INSERT, MODIFY or REMOVE, or several of them: INSERT,REMOVE",
    )
    group.add_argument(
        "--key",
        dest="keys",
        type=_key,
        action="append",
        metavar="NAME=VALUE",
        help="of this item, such as PK=user#1; once more for the sort key",
    )
    group.add_argument(
        "--pattern",
        metavar="JSON",
        help="what matches an event filter pattern of AWS Lambda, such as "
        '\'{"dynamodb": {"NewImage": {"status": {"S": ["paid"]}}}}\'',
    )


def chosen(source: Observable[Change], args: argparse.Namespace) -> Observable[Change]:
    """Those of the changes that `add_choosing`'s options let through.

    Raises:
        ConfigurationError: the pattern is none, or a key has two values.

    Errors at on_error:
        ConfigurationError: the table's key has another name, or is of another type.
    """
    from reactivex import operators as ops

    from rxddbstream import operators as dops

    pattern = None
    if args.pattern is not None:
        try:
            pattern = json.loads(args.pattern)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"--pattern is not JSON: {error}") from error
        source = source.pipe(ops.do_action(_Missed(pattern)))  # before others have taken out what has it
    for name, value in _keys(args):
        source = source.pipe(ops.filter(_has_key(name, value)))
    if args.events:
        source = source.pipe(ops.filter(_is_event(frozenset(args.events))))
    return source if pattern is None else source.pipe(dops.where(pattern))


def check_keys(args: argparse.Namespace, keys: Collection[str]) -> None:
    """Refuse a `--key` that no change will have.

    Args:
        keys: the names of the table's key; none where they are not known.

    Raises:
        ConfigurationError: the table's key has another name.
    """
    for name, value in _keys(args):
        if keys and name not in keys:
            raise _not_the_key(name, value, keys)


def _keys(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    values: dict[str, str] = {}
    for name, value in args.keys or ():
        if values.setdefault(name, value) != value:
            raise ConfigurationError(
                f"--key {name}={value}: no item has {name}={values[name]} as well; leave one of them out, or "
                "read both with --pattern"
            )
    yield from values.items()


def _not_the_key(name: str, value: str, keys: Collection[str]) -> ConfigurationError:
    return ConfigurationError(f"--key {name}={value}: the table's key is {' and '.join(sorted(keys))}")


class _Missed:
    """Tells, once, which members of a pattern none of the first changes has.

    It is called with one change at a time.
    """

    def __init__(self, pattern: Any) -> None:
        from rxddbstream.patterns.pattern import compile_pattern

        self._missing = compile_pattern(pattern).members()
        self._seen = 0

    def __call__(self, change: Change) -> None:
        if not self._missing:
            return
        self._missing = {
            path: there for path, there in self._missing.items() if not there.matches_change(change)
        }
        self._seen += 1
        if self._missing and self._seen == ENOUGH:
            from rxddbstream.cli.notes import note

            names = ", ".join(sorted(self._missing))
            note(f"rxddbstream: none of the first {ENOUGH} changes has {names}, which --pattern asks for")
            self._missing = {}


def _events(text: str) -> list[str]:
    names = [name.strip().upper() for name in text.split(",")]
    for name in names:
        if name not in EVENTS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(EVENTS)}")
    return names


def _key(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _is_event(names: frozenset[str]) -> Callable[[Change], bool]:
    return lambda change: change.event_name in names


def _has_key(name: str, value: str) -> Callable[[Change], bool]:
    def has_key(change: Change) -> bool:
        keys = change.keys
        if name not in keys:
            raise _not_the_key(name, value, keys)
        key = keys[name]
        kind = type(key)
        if kind not in wanted:  # once: a table's keys are all of one type
            wanted[kind] = _as_key(name, value, kind)
        return bool(key == wanted[kind])

    wanted: dict[type[Any], Any] = {}
    return has_key


def _as_key(name: str, text: str, kind: type[Any]) -> Any:
    """A text as a key of this type.

    Raises:
        ConfigurationError: it stands for none.
    """
    if kind is Decimal:
        with suppress(InvalidOperation):
            number = Decimal(text)
            if number.is_finite():
                return number
        raise ConfigurationError(f"--key {name}={text}: the table's key {name} is a number")
    if kind is bytes:
        with suppress(ValueError):
            return b64decode(text, validate=True)
        raise ConfigurationError(
            f"--key {name}={text}: the table's key {name} is binary: write it in Base64, as -o json shows it"
        )
    return text
