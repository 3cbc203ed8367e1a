"""AWS Lambda's event filter patterns, for the records of a DynamoDB stream.

    {"eventName": ["INSERT"],                                    all members are to match ...
     "dynamodb": {"NewImage": {"status": {"S": ["new", {"prefix": "pa"}]}}}}     ... one rule of each list

A pattern is compiled once, and then looks at nothing but the members that it names. An image that is still
JSON is decoded no further than to the attributes that the pattern names.

What a rule sees is the record as Lambda's functions get it: as JSON. There, numbers are strings, binary is
Base64, and times are seconds since the epoch. Lists are crushed: a rule of a list matches when one of its
elements does, and rules of several members have to match in the same element. What is not there matches
`{"exists": false}` alone; only strings, numbers, booleans and nulls are ever there, not what holds them.

https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html and the semantics of
https://github.com/aws/event-ruler, which AWS's services use.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, TypedDict, cast

import msgspec

from rxddbstream.errors import DecodeError
from rxddbstream.model.change import Change, place_of
from rxddbstream.model.encoding import words_of
from rxddbstream.model.record import Members
from rxddbstream.patterns.rules import Place, Test, rule

_MISSING: Any = object()
_JSON = msgspec.json.Decoder()

DEEPEST = 200
"""How deep a pattern may be. An item has 32 levels, each of which is two in JSON.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""
TOO_DEEP = "it is nested deeper than any record"


def compile_pattern(pattern: Mapping[str, Any]) -> Pattern:
    """Compile a pattern, or the filter criteria of a Lambda trigger: `{"Filters": [{"Pattern": "..."}]}`.

    Raises:
        ConfigurationError: it is no pattern, or one that can match no record of a DynamoDB stream.

    >>> pattern = compile_pattern({"dynamodb": {"Keys": {"id": {"S": [{"prefix": "o-"}]}}}})
    >>> pattern.matches({"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "o-1"}}}})
    True
    >>> pattern.matches({"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "c-1"}}}})
    False
    """
    place = Place()
    try:
        if isinstance(pattern, Mapping) and set(pattern) == {"Filters"}:
            return Pattern((), _filters(pattern["Filters"], place.note(".Filters")))
        return _object(pattern, place)
    except RecursionError:
        raise place.error(TOO_DEEP) from None


class Pattern:
    """A compiled pattern, or a part of one: of an object.

    Args:
        members: the parts that are all to match, by the members that they look at.
        either: objects, one of which is to match as well.
    """

    def __init__(
        self, members: Sequence[tuple[str, Pattern | _Rules]], either: Sequence[Pattern] = ()
    ) -> None:
        self._members = tuple(members)
        self._either = tuple(either)
        self.absent: bool = any(part.absent for _, part in members) or any(part.absent for part in either)
        """Whether something may match because it is not there."""

    @cached_property
    def names(self) -> frozenset[str]:
        """The members that it looks at."""
        return frozenset(name for name, _ in self._members).union(*(part.names for part in self._either))

    def members(self, path: str = "") -> dict[str, Pattern]:
        """Each member that has to be there, by its path: a pattern that matches whatever value it has."""
        found: dict[str, Pattern] = {}
        for name, part in self._members:
            here = f"{path}.{name}" if path else name
            if isinstance(part, Pattern):
                inner = part.members(here).items()
                found |= {path: Pattern([(name, pattern)]) for path, pattern in inner}
            elif not part.absent:
                found[here] = Pattern([(name, _PRESENT)])
        for part in self._either:
            found |= part.members(path)
        return found

    def matches_change(self, change: Change) -> bool:
        """Whether it matches a change.

        Raises:
            DecodeError: what it looks at cannot be decoded.
        """
        try:
            return self.matches(change.record_as_it_came)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError(f"{place_of(change)}: not an item: {words_of(error)}") from error

    def matches(self, value: Any) -> bool:
        """Whether it matches a record: as boto3 has it, as JSON has it, or as it came."""
        kind = type(value)
        if kind is not dict:
            if kind is msgspec.Raw:
                return self.matches(self._decode(value))
            if kind is list:
                return self._matches_one_of(list(_flat(value)) or [{}])
            if not isinstance(value, Members | Mapping):
                value = {}
        for name, part in self._members:
            if not part.matches(value.get(name, _MISSING)):
                return False
        return not self._either or any(part.matches(value) for part in self._either)

    def _decode(self, raw: msgspec.Raw) -> Any:
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError:  # not an object
            return _JSON.decode(raw)

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[Any]:
        members = cast(Any, TypedDict)("Members", dict.fromkeys(self.names, Any), total=False)
        return msgspec.json.Decoder(members)

    def _matches_one_of(self, elements: Sequence[Any]) -> bool:
        pattern = self.settled(elements)
        return any(pattern.matches(element) for element in elements)

    def settled(self, elements: Sequence[Any]) -> Pattern:
        """The pattern for one of a list's elements: what is absent has to be absent from all of them."""
        if not self.absent:
            return self
        members = [(name, part.settled(_those_named(name, elements))) for name, part in self._members]
        return Pattern(members, [part.settled(elements) for part in self._either])


_ANYTHING = Pattern(())


class _Rules:
    """The rules for one member, of which one is to match."""

    __slots__ = ("_tests", "_texts", "absent")

    def __init__(self, texts: frozenset[str], tests: Sequence[Test], absent: bool) -> None:
        self._texts = texts
        self._tests = tuple(tests)
        self.absent = absent

    def matches(self, value: Any) -> bool:
        kind = type(value)
        if kind is str:
            return value in self._texts or any(test(value) for test in self._tests)
        if value is _MISSING or kind is dict or isinstance(value, Members | Mapping):
            return self.absent
        if kind is list:
            values = [each for each in _flat(value) if not isinstance(each, Mapping)]
            return any(map(self.matches, values or [_MISSING]))
        if kind is msgspec.Raw:
            return self.matches(_JSON.decode(value))
        if isinstance(value, bytes):
            return self.matches(b64encode(value).decode())
        if isinstance(value, datetime):
            value = value.timestamp()
        return any(test(value) for test in self._tests)

    def settled(self, elements: Sequence[Any]) -> _Rules | Pattern:
        if not self.absent:
            return self
        if all(isinstance(element, Mapping) for element in _flat(elements)):
            return _ANYTHING
        return _Rules(self._texts, self._tests, absent=False)


_PRESENT = _Rules(frozenset(), [lambda value: True], absent=False)


def _flat(elements: Iterable[Any]) -> Iterator[Any]:
    for element in elements:
        if isinstance(element, list):
            yield from _flat(element)
        else:
            yield element


def _those_named(name: str, elements: Iterable[Any]) -> list[Any]:
    return [element[name] for element in _flat(elements) if isinstance(element, Mapping) and name in element]


# --- compiling -------------------------------------------------------------------------------------

# A stream's records begin these with a capital, Lambda's events do not.
_IDENTITY = {"type": "Type", "principalId": "PrincipalId"}


def _filters(filters: Any, place: Place) -> list[Pattern]:
    if not isinstance(filters, list | tuple) or not filters:
        raise place.error('expected a list of at least one {"Pattern": "..."}')
    patterns = []
    for index, one in enumerate(filters):
        here = place.note(f"[{index}]")
        if not isinstance(one, Mapping) or set(one) != {"Pattern"}:
            raise here.error('expected {"Pattern": "..."}')
        here = here.note(".Pattern")
        patterns.append(_object(_parsed(one["Pattern"], here), here))
    return patterns


def _parsed(pattern: Any, place: Place) -> Any:
    if not isinstance(pattern, str):
        return pattern
    try:
        return json.loads(pattern, object_pairs_hook=_merged)
    except ValueError as error:
        raise place.error(f"not JSON: {error}") from error


def _merged(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    # AWS's own example of "and" has "dynamodb" twice. Of a list that comes twice, the last one counts.
    merged: dict[str, Any] = {}
    for name, value in pairs:
        before = merged.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            value = _merged([*before.items(), *value.items()])
        merged[name] = value
    return merged


def _object(pattern: Any, place: Place) -> Pattern:
    if not isinstance(pattern, Mapping):
        raise place.error(f"expected an object, not {pattern!r}")
    if place.depth > DEEPEST:
        raise Place().error(TOO_DEEP)
    if not pattern:
        raise place.error("an empty object is not allowed; name what is to match")
    members: list[tuple[str, Pattern | _Rules]] = []
    either: Sequence[Pattern] = ()
    for name, part in pattern.items():
        if not isinstance(name, str):
            raise place.error(f"a name must be a string, not {name!r}")
        here = place.into(name)
        if name == "$or" and not isinstance(part, Mapping):
            either = _alternatives(part, place.note(".$or"))
        elif isinstance(part, Mapping):
            members.append((name, _object(part, here)))
        elif isinstance(part, list | tuple):
            spelled = _IDENTITY.get(name, name) if place.names == ("userIdentity",) else name
            members.append((spelled, _rules(part, here)))
        else:
            raise here.error(f"expected an object or a list; did you mean [{part!r}]?")
    members.sort(key=lambda member: isinstance(member[1], Pattern))  # what costs least comes first
    return Pattern(members, either)


def _alternatives(patterns: Any, place: Place) -> list[Pattern]:
    if not isinstance(patterns, list | tuple) or len(patterns) < 2:
        raise place.error("expected a list of at least two objects")
    return [_object(pattern, place.note(f"[{index}]")) for index, pattern in enumerate(patterns)]


def _rules(rules: Sequence[Any], place: Place) -> _Rules:
    if not rules:
        raise place.error("an empty list is not allowed; name a value")
    texts: set[str] = set()
    tests: list[Test] = []
    absent = False
    for index, each in enumerate(rules):
        if _is_absence(each):
            absent = True
            continue
        test = rule(each, place.note(f"[{index}]"))
        if isinstance(each, str):
            texts.add(each)
        else:
            tests.append(test)
    return _Rules(frozenset(texts), tests, absent)


def _is_absence(rule: Any) -> bool:
    return isinstance(rule, Mapping) and len(rule) == 1 and rule.get("exists") is False
