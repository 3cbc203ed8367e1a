"""Attribute values become the Python values that boto3 makes of them, with plain bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Clamped, Decimal, Inexact, Overflow, Rounded, Underflow, localcontext
from typing import Any

import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from hypothesis import given, settings
from hypothesis import strategies as st

from rxddbstream.errors import DecodeError, StreamError
from rxddbstream.model import values
from rxddbstream.model.values import decode_item, decode_json_attribute, decode_json_item, decode_value


def decimals() -> st.SearchStrategy[Decimal]:
    """All that DynamoDB stores: 38 digits, from 1E-130 to 9.9...9E+125."""

    def build(digits: list[int], sign: int, place: int) -> Decimal:
        return Decimal((sign, tuple(digits), max(-130, place - len(digits))))

    return st.builds(
        build, st.lists(st.integers(0, 9), min_size=1, max_size=38), st.integers(0, 1), st.integers(-92, 126)
    )


texts = st.text(max_size=8)
blobs = st.binary(max_size=8)


def python_values() -> st.SearchStrategy[Any]:
    """What boto3's serializer takes; it refuses empty sets."""
    plain = st.none() | st.booleans() | texts | blobs | decimals()
    sets = (
        st.sets(texts, min_size=1, max_size=4)
        | st.sets(blobs, min_size=1, max_size=4)
        | st.sets(decimals(), min_size=1, max_size=4)
    )
    return st.recursive(
        plain | sets,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=12,
    )


def attribute_values() -> st.SearchStrategy[dict[str, Any]]:
    """Attribute values as the service writes them, empty sets and documents included."""
    numbers = decimals().map(str)

    def typed(kind: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
        return values.map(lambda value: {kind: value})

    plain = st.one_of(
        typed("S", texts),
        typed("N", numbers),
        typed("B", blobs),
        typed("BOOL", st.booleans()),
        typed("NULL", st.just(True)),
        typed("SS", st.lists(texts, max_size=4)),
        typed("NS", st.lists(numbers, max_size=4)),
        typed("BS", st.lists(blobs, max_size=4)),
    )
    return st.recursive(
        plain,
        lambda inner: (
            typed("L", st.lists(inner, max_size=4)) | typed("M", st.dictionaries(texts, inner, max_size=4))
        ),
        max_leaves=12,
    )


def exact(value: Any) -> Any:
    """With the types told apart, and a number's trailing zeros; boto3's Binary is bytes."""
    match value:
        case Binary():
            return exact(bytes(value))
        case dict():
            return {name: exact(member) for name, member in value.items()}
        case list():
            return [exact(member) for member in value]
        case set():
            return "set", frozenset(exact(member) for member in value)
        case Decimal():
            return value.as_tuple()
        case _:
            return type(value), value


@settings(max_examples=150, deadline=None)
@given(python_values())
def test_what_boto3_serializes_decodes_to_what_boto3_deserializes(value: Any) -> None:
    encoded = TypeSerializer().serialize(value)

    assert exact(decode_value(encoded)) == exact(TypeDeserializer().deserialize(encoded))


@settings(max_examples=150, deadline=None)
@given(attribute_values())
def test_every_type_decodes_as_by_boto3(value: dict[str, Any]) -> None:
    assert exact(decode_value(value)) == exact(TypeDeserializer().deserialize(value))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(texts, attribute_values(), max_size=4))
def test_an_item_decodes_attribute_by_attribute_and_is_left_as_it_was(item: dict[str, Any]) -> None:
    before = repr(item)

    decoded = decode_item(item)

    assert list(decoded) == list(item)
    assert all(exact(decoded[name]) == exact(decode_value(item[name])) for name in item)
    assert repr(item) == before


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        ({"S": ""}, ""),
        ({"N": "-0.50"}, Decimal("-0.50")),
        ({"B": b"\x00\xff"}, b"\x00\xff"),
        ({"B": Binary(b"\x00\xff")}, b"\x00\xff"),
        ({"BOOL": False}, False),
        ({"NULL": True}, None),
        ({"SS": ["a", "b"]}, {"a", "b"}),
        ({"NS": ["1", "2.5"]}, {Decimal(1), Decimal("2.5")}),
        ({"BS": [b"a", Binary(b"b")]}, {b"a", b"b"}),
        ({"L": []}, []),
        ({"M": {}}, {}),
        ({"L": [{"M": {"a": {"L": [{"NULL": True}]}}}]}, [{"a": [None]}]),
    ],
)
def test_each_type_has_one_python_type(encoded: dict[str, Any], decoded: Any) -> None:
    assert exact(decode_value(encoded)) == exact(decoded)


def test_boto3s_binary_is_unwrapped_to_bytes() -> None:
    assert type(decode_value({"B": Binary(b"\x00")})) is bytes
    assert [type(blob) for blob in decode_value({"BS": [Binary(b"a"), b"b"]})] == [bytes, bytes]


@pytest.mark.parametrize(
    "digits",
    [
        "12345678901234567890123456789012345678",
        "-0.00000000000000000000000000000000000012345678901234567890123456789012345678",
        "9.9999999999999999999999999999999999999E+125",
        "-9.9999999999999999999999999999999999999E+125",
        "1E-130",
        "100.00",
        "0",
    ],
)
def test_numbers_are_exact_whatever_the_decimal_context(digits: str) -> None:
    with localcontext() as context:
        context.prec = 3
        context.Emax = 5
        context.Emin = -5
        for signal in (Clamped, Inexact, Overflow, Rounded, Underflow):
            context.traps[signal] = True
        (in_set,) = decode_value({"NS": [digits]})
        numbers = [decode_value({"N": digits}), in_set]

    assert [number.as_tuple() for number in numbers] == [Decimal(digits).as_tuple()] * 2


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"Q": "1"}, "{Q: str}"),
        ({"s": "a"}, "{s: str}"),
        ({"four": "a"}, "{four: str}"),
        ({"fives": "a"}, "{...: str}"),
        ({"SDK_UNKNOWN_MEMBER": {"name": "Q"}}, "{SDK_UNKNOWN_MEMBER: dict}"),
        ({"S": "a", "N": "1"}, "{S: str, N: str}"),
        ({}, "{}"),
        ("text", ": str;"),
        (None, ": NoneType;"),
        ({"M": None}, "{M: NoneType}"),
    ],
)
def test_a_value_that_is_not_one_member_of_a_known_type_is_an_error_that_tells_what_it_has(
    value: Any, found: str
) -> None:
    with pytest.raises(DecodeError, match=re.escape(found)) as caught:
        decode_value(value)

    assert "Change.record" in str(caught.value)
    assert "BOOL" in str(caught.value)
    assert isinstance(caught.value, StreamError)
    assert isinstance(caught.value, ValueError)


def test_an_error_deep_inside_tells_of_the_innermost_value() -> None:
    with pytest.raises(DecodeError, match=r"{Q: str}"):
        decode_item({"a": {"L": [{"M": {"b": {"Q": "1"}}}]}})


@pytest.mark.parametrize(
    "value",
    [
        {"N": "abc"},
        {"N": ""},
        {"N": None},
        {"N": "NaN"},
        {"NS": ["x"]},
        {"NS": None},
        {"SS": None},
        {"SS": "abc"},
        {"SS": [["x"]]},
        {"L": None},
        {"B": "text"},
        {"B": 5},
        {"BS": ["text"]},
        {"M": {"a": {"N": "1,5"}}},
    ],
)
def test_a_value_of_the_wrong_kind_is_a_decode_error(value):
    with pytest.raises(DecodeError):
        decode_value(value)


# The same as JSON, which is how it comes


def json_of(value: Any) -> bytes:
    return json.dumps({"a": value}).encode()


NOT_FINITE = ["NaN", "Infinity", "-Infinity", "nan", "sNaN", "inf"]
WRAPS: list[Callable[[str], Any]] = [
    lambda number: {"N": number},
    lambda number: {"NS": [number]},
    lambda number: {"L": [{"M": {"x": {"N": number}}}]},
]


@pytest.mark.parametrize("text", NOT_FINITE)
@pytest.mark.parametrize("wrap", WRAPS)
def test_a_number_that_is_none_is_an_error_in_json_too(text: str, wrap: Callable[[str], Any]) -> None:
    with pytest.raises(DecodeError):
        decode_json_attribute(json_of(wrap(text)), "a")
    with pytest.raises(DecodeError):
        decode_json_item(json_of(wrap(text)))
    with pytest.raises(DecodeError):
        decode_value(wrap(text))


def test_good_values_are_never_decoded_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(value: Any) -> Any:
        raise AssertionError(f"the slow way, of {value}")

    monkeypatch.setattr(values, "_decode_json", slow)
    good = (
        {"S": "a"},
        {"N": "1"},
        {"N": "-1E-7"},
        {"BOOL": True},
        {"NULL": True},
        {"NS": ["1"]},
        {"B": "eA=="},
    )
    item = {"a": {"L": list(good)}, "b": {"M": {"c": {"SS": ["x"]}, "d": {"BS": ["eA=="]}}}}
    body = json.dumps(item).encode()

    assert decode_json_item(body)["a"][1:3] == [1, Decimal("-1E-7")]
    assert decode_json_attribute(body, "b") == {"c": {"x"}, "d": {b"x"}}
