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

from base64 import b64decode
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from rxddbstream.errors import DecodeError

Decode: TypeAlias = Callable[[Any], Any]


def decode_item(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Decode a map of attribute values: an item, an image, a key.

    >>> decode_item({"id": {"S": "o-1"}, "total": {"N": "12.50"}})
    {'id': 'o-1', 'total': Decimal('12.50')}
    """
    return {name: decode_value(value) for name, value in item.items()}


def _decoder(blob: Decode) -> Decode:
    """A decoder of attribute values, which differ in how binary is written."""

    def decode(value: Mapping[str, Any]) -> Any:
        try:
            ((kind, raw),) = value.items()
            return decoders[kind](raw)
        except DecodeError:
            raise
        except (KeyError, ValueError, TypeError, ArithmeticError, AttributeError) as error:
            raise DecodeError(
                f"not an attribute value: {_outline(value)}; one member was expected, of the type that goes "
                f"with its name, which is one of {', '.join(decoders)}. The record as it came is in "
                "Change.record."
            ) from error

    decoders: dict[str, Decode] = {
        "S": _same,
        "N": _number,
        "B": blob,
        "BOOL": _same,
        "NULL": lambda raw: None,
        "M": lambda raw: {name: decode(value) for name, value in raw.items()},
        "L": lambda raw: [decode(value) for value in raw],
        "SS": _set_of(_same),
        "NS": _set_of(_number),
        "BS": _set_of(blob),
    }
    return decode


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


def _set_of(decode: Decode) -> Decode:
    def decode_set(raw: Any) -> set[Any]:
        if isinstance(raw, str):
            raise TypeError(raw)
        return {decode(element) for element in raw}

    return decode_set


_decode_boto3 = _decoder(_blob)
_decode_json = _decoder(b64decode)


def decode_value(value: Mapping[str, Any]) -> Any:
    """Decode one attribute value as boto3 has it, such as `{"S": "o-1"}`.

    Raises:
        DecodeError: the value is not exactly one member of a documented type.
    """
    return _decode_boto3(value)


def decode_json_value(value: bytes | msgspec.Raw) -> Any:
    """Decode one attribute value from its JSON, in which binary is Base64.

    Raises:
        DecodeError: the value is not exactly one member of a documented type.

    >>> decode_json_value(b'{"B": "AP8="}')
    b'\\x00\\xff'
    """
    try:
        decoded = msgspec.json.decode(value)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not an attribute value: {error}. The record is in Change.record.") from error
    return _decode_json(decoded)
