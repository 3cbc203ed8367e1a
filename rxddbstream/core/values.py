"""DynamoDB's attribute values as plain Python values.

    S    str                 SS    set[str]
    N    Decimal             NS    set[Decimal]
    B    bytes               BS    set[bytes]
    BOOL bool                L     list
    NULL None                M     dict

Numbers become `Decimal` through its constructor, which is exact for all of DynamoDB's 38 digits and
does not look at the decimal context.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_AttributeValue.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from rxddbstream.errors import DecodeError


def decode_item(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Decode a map of attribute values: an item, an image, a key.

    >>> decode_item({"id": {"S": "o-1"}, "total": {"N": "12.50"}})
    {'id': 'o-1', 'total': Decimal('12.50')}
    """
    return {name: decode_value(value) for name, value in item.items()}


def decode_value(value: Mapping[str, Any]) -> Any:
    """Decode one attribute value, such as `{"S": "o-1"}`.

    Raises:
        DecodeError: the value is not exactly one member of a documented type.
    """
    try:
        ((kind, raw),) = value.items()
        return _DECODERS[kind](raw)
    except DecodeError:
        raise
    except (KeyError, ValueError, TypeError, ArithmeticError, AttributeError) as error:
        raise DecodeError(
            f"not an attribute value: {_outline(value)}; one member was expected, of the type that goes with "
            f"its name, which is one of {', '.join(_DECODERS)}. The record as it came is in Change.record."
        ) from error


def _outline(value: Any) -> str:
    # Types, not contents: an error may be logged.
    if not isinstance(value, Mapping):
        return type(value).__name__
    return "{" + ", ".join(f"{name}: {type(raw).__name__}" for name, raw in value.items()) + "}"


def _same(raw: Any) -> Any:
    return raw


def _number(raw: str) -> Decimal:
    number = Decimal(raw)
    if not number.is_finite():
        raise ValueError(raw)
    return number


def _blob(raw: Any) -> bytes:
    if isinstance(raw, int | str):  # bytes() would take a number for a length
        raise TypeError(raw)
    return bytes(raw)


def _set_of(decode: Callable[[Any], Any]) -> Callable[[Any], set[Any]]:
    def decode_set(raw: Any) -> set[Any]:
        if isinstance(raw, str):
            raise TypeError(raw)
        return {decode(element) for element in raw}

    return decode_set


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "S": _same,
    "N": _number,
    "B": _blob,
    "BOOL": _same,
    "NULL": lambda raw: None,
    "M": decode_item,
    "L": lambda raw: [decode_value(value) for value in raw],
    "SS": _set_of(_same),
    "NS": _set_of(_number),
    "BS": _set_of(_blob),
}
