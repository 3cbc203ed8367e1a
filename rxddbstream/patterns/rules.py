"""The rules of a filter pattern: each becomes a test of one value of a record's JSON.

    "paid", 26, true, null            that very value
    {"prefix": "pa"}                  strings that begin so; also suffix
    {"equals-ignore-case": "Paid"}    also {"prefix": {"equals-ignore-case": "Pa"}}
    {"anything-but": ["new", "old"]}  also numbers, and {"anything-but": {"prefix": "pa"}}
    {"numeric": [">", 0, "<=", 5]}    not for attributes, whose numbers are strings
    {"exists": true}

See `rxddbstream.patterns.pattern`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from rxddbstream.errors import ConfigurationError

Test: TypeAlias = Callable[[Any], bool]


class Place(NamedTuple):
    """A place in a pattern.

    Attributes:
        names: the members that lead to what it is about in a record.
        text: how to say where it is in the pattern.
        depth: how many steps lead there.
    """

    names: tuple[str, ...] = ()
    text: str = ""
    depth: int = 0

    def into(self, name: str) -> Place:
        """The place of a member."""
        return Place((*self.names, name), f"{self.text}.{name}", self.depth + 1)

    def note(self, text: str) -> Place:
        """Deeper in the pattern, and at the same place in a record."""
        return Place(self.names, self.text + text, self.depth + 1)

    def error(self, problem: str) -> ConfigurationError:
        """The error that says what is wrong here."""
        where = self.text.lstrip(".") or "its top"
        return ConfigurationError(f"the filter pattern cannot work, at {where}: {problem}")

    @property
    def is_in_image(self) -> bool:
        """Whether it is about an item's attributes."""
        return self.names[:1] == ("dynamodb",) and self.names[1:2] in _IMAGES

    @property
    def is_attribute_value(self) -> bool:
        """Whether a record has no more than one value there: not an object, or a list of such."""
        return len(self.names) > len(("dynamodb", "NewImage", "name")) and self.names[-1] in _TYPES


_IMAGES = [("Keys",), ("NewImage",), ("OldImage",)]
_TYPES = ["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS"]


def rule(given: Any, place: Place) -> Test:
    """Compile one rule, other than `{"exists": false}`.

    Raises:
        ConfigurationError: it is none, or no record could match it.
    """
    if place.is_in_image and not place.is_attribute_value:
        raise place.error(
            "it would never match, as an object is there and not a value; "
            'go down to the type of an attribute, as in {"status": {"S": ["paid"]}}'
        )
    if isinstance(given, Mapping):
        return _one_of(_OPERATORS, given, place)
    if not (given is None or isinstance(given, str | bool)):
        _check_number(given, place)
        if place.is_in_image:
            raise place.error(
                f'it would never match, as numbers of items are strings in JSON; write "{given}"'
            )
    return _equal(given)


def _one_of(
    operators: Mapping[str, Callable[[Any, Place], Test]], given: Mapping[str, Any], place: Place
) -> Test:
    names = list(given)
    if len(names) != 1 or names[0] not in operators:
        raise place.error(f"expected one of {', '.join(operators)}; not {dict(given)!r}")
    return operators[names[0]](given[names[0]], place.note(f".{names[0]}"))


def _equal(value: Any) -> Test:
    # In JSON, true is not 1.
    return lambda found: bool(found == value) and isinstance(found, bool) is isinstance(value, bool)


def _check_number(value: Any, place: Place) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.error(f"expected a string or a number, not {value!r}")


def _text(compare: Callable[[str, str], bool]) -> Callable[[Any, Place], Test]:
    ignoring_case = _text_ignoring_case(compare)

    def compiled(operand: Any, place: Place) -> Test:
        if isinstance(operand, Mapping):
            return _one_of({"equals-ignore-case": ignoring_case}, operand, place)
        if not isinstance(operand, str):
            raise place.error(f"expected a string, not {operand!r}")
        return lambda found: isinstance(found, str) and compare(found, operand)

    return compiled


def _text_ignoring_case(compare: Callable[[str, str], bool]) -> Callable[[Any, Place], Test]:
    def compiled(operand: Any, place: Place) -> Test:
        if not isinstance(operand, str):
            raise place.error(f"expected a string, not {operand!r}")
        lower = operand.lower()
        return lambda found: isinstance(found, str) and compare(found.lower(), lower)

    return compiled


def _exists(operand: Any, place: Place) -> Test:
    if operand is not True:
        raise place.error(f"expected true or false, not {operand!r}")
    return lambda found: True


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_BOUNDS = ["=", "<", "<=", ">", ">=", "> <", "> <=", ">= <", ">= <="]


def _numeric(operand: Any, place: Place) -> Test:
    if place.is_in_image:
        raise place.error(
            "it would never match, as numbers of items are strings in JSON; AWS does not support it there. "
            "Use a function: ops.filter(lambda change: change.new_image['total'] > 100)"
        )
    if not isinstance(operand, list | tuple) or " ".join(map(str, operand[::2])) not in _BOUNDS:
        raise place.error(f'expected ["=", 1], or bounds such as [">", 0, "<=", 5]; not {operand!r}')
    if len(operand) % 2:
        raise place.error(f"a number is missing after {operand[-1]!r}")
    for bound in operand[1::2]:
        _check_number(bound, place)
    bounds = [(_COMPARISONS[sign], bound) for sign, bound in zip(operand[::2], operand[1::2], strict=True)]

    def test(found: Any) -> bool:
        if isinstance(found, bool) or not isinstance(found, int | float):
            return False
        return all(compare(found, bound) for compare, bound in bounds)

    return test


def _anything_but(operand: Any, place: Place) -> Test:
    if isinstance(operand, Mapping):
        test = _one_of({name: _any(compiled) for name, compiled in _TEXTS.items()}, operand, place)
    else:
        test = _any(_listed)(operand, place)
        if len({isinstance(value, str) for value in _several(operand)}) > 1:
            raise place.error(f"expected strings alone or numbers alone, not {operand!r}")
    return lambda found: not test(found)


def _any(compiled: Callable[[Any, Place], Test]) -> Callable[[Any, Place], Test]:
    """One operand or a list of them; empty ones would make it match all or nothing."""

    def compiled_any(operand: Any, place: Place) -> Test:
        operands = _several(operand)
        if not operands:
            raise place.error("an empty list is not allowed")
        tests = [compiled(one, place) for one in operands]
        return lambda found: any(test(found) for test in tests)

    return compiled_any


def _several(operand: Any) -> Sequence[Any]:
    return operand if isinstance(operand, list | tuple) else [operand]


def _listed(value: Any, place: Place) -> Test:
    if not isinstance(value, str):
        _check_number(value, place)
    return _equal(value)


_TEXTS = {
    "prefix": _text(str.startswith),
    "suffix": _text(str.endswith),
    "equals-ignore-case": _text_ignoring_case(operator.eq),
}
_OPERATORS = {**_TEXTS, "anything-but": _anything_but, "numeric": _numeric, "exists": _exists}
