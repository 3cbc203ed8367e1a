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
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from rxddbstream.errors import DecodeError
from rxddbstream.model.encoding import words_of

Decode: TypeAlias = Callable[[Any], Any]

_LONGEST_NAME = 4  # of a type: BOOL, NULL
_BOTOCORES_NAME = "SDK_UNKNOWN_MEMBER"  # of a type that it does not know


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
        except KeyError:
            raise odd(value) from None  # whose message is a name that may be anything
        except (ValueError, TypeError, ArithmeticError, AttributeError, RecursionError) as error:
            raise odd(value) from error

    def odd(value: Any) -> DecodeError:
        return DecodeError(
            f"not an attribute value: {_outline(value)}; one member was expected, of the type that goes "
            f"with its name, which is one of {', '.join(decoders)}. The record as it came is in "
            "Change.record."
        )

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
    # Types, not contents: an error may be logged. A long name is no type's, but an attribute's, or a value.
    if not isinstance(value, Mapping):
        return type(value).__name__
    names = (name if len(str(name)) <= _LONGEST_NAME or name == _BOTOCORES_NAME else "..." for name in value)
    kinds = (type(raw).__name__ for raw in value.values())
    return "{" + ", ".join(f"{name}: {kind}" for name, kind in zip(names, kinds, strict=True)) + "}"


def _same(raw: Any) -> Any:
    return raw


def _number(raw: str) -> Decimal:
    number = Decimal(raw)
    if not number.is_finite():
        raise ValueError("the number is not finite")
    return number


def _blob(raw: Any) -> bytes:
    if isinstance(raw, int | str):  # bytes() would take a number for a length
        raise TypeError("bytes were expected")
    return bytes(raw)


def _set_of(decode: Decode) -> Decode:
    def decode_set(raw: Any) -> set[Any]:
        if isinstance(raw, str):
            raise TypeError("a list was expected")
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


class _Value(msgspec.Struct, gc=False):
    # Decoded by msgspec to what it should become; the most frequent types first.
    S: str | UnsetType = UNSET
    N: Decimal | UnsetType = UNSET
    BOOL: bool | UnsetType = UNSET
    M: dict[str, _Value] | UnsetType = UNSET
    L: list[_Value] | UnsetType = UNSET
    NULL: bool | UnsetType = UNSET
    SS: set[str] | UnsetType = UNSET
    NS: set[Decimal] | UnsetType = UNSET
    B: bytes | UnsetType = UNSET
    BS: set[bytes] | UnsetType = UNSET


_TYPES = len(_Value.__struct_fields__)
_ITEM = msgspec.json.Decoder(dict[str, _Value])
_ANY_ITEM = msgspec.json.Decoder(dict[str, Any])


class _OddValue(Exception):
    """Not one member of a documented type, or a number that is none."""


def _plain(value: _Value) -> Any:
    if astuple(value).count(UNSET) != _TYPES - 1:
        raise _OddValue
    if (text := value.S) is not UNSET:
        return text
    if (number := value.N) is not UNSET:
        return _finite(number)
    if (flag := value.BOOL) is not UNSET:
        return flag
    if (item := value.M) is not UNSET:
        return {name: _plain(inner) for name, inner in item.items()}
    if (elements := value.L) is not UNSET:
        return [_plain(inner) for inner in elements]
    if value.NULL is not UNSET:
        return None
    if (numbers := value.NS) is not UNSET:
        return {_finite(number) for number in numbers}
    return next(rest for rest in (value.SS, value.B, value.BS) if rest is not UNSET)


def _finite(number: Decimal) -> Decimal:
    if not number.is_finite():
        raise _OddValue
    return number


def decode_json_attribute(item: bytes | msgspec.Raw, name: str) -> Any:
    """Decode one attribute of an item from the item's JSON, and step over the others.

    Raises:
        KeyError: the item has no such attribute.
        DecodeError: its value is not exactly one member of a documented type.

    >>> decode_json_attribute(b'{"id": {"S": "o-1"}, "total": {"N": "12.50"}}', "total")
    Decimal('12.50')
    """
    try:
        value: _Value | UnsetType = _attribute_decoder(name)(item).value
        if value is not UNSET:
            return _plain(value)
    # A ValueError is of a name that msgspec does not take, a TypeError of a signaling NaN in a set.
    except (msgspec.MsgspecError, _OddValue, ValueError, TypeError, RecursionError):
        return _decode_json(_any_item(item)[name])  # which says what is wrong with it, or lets it pass
    if not bytes(item).isascii():
        _any_item(item)  # a name that was broken is another one
    raise KeyError(name)


@lru_cache(maxsize=256)
def _attribute_decoder(name: str) -> Callable[[bytes | msgspec.Raw], Any]:
    field = ("value", _Value | UnsetType, UNSET)
    return msgspec.json.Decoder(msgspec.defstruct("Attribute", [field], rename={"value": name})).decode


def decode_json_item(item: bytes | msgspec.Raw) -> dict[str, Any]:
    """Decode an item from its JSON.

    Raises:
        DecodeError: one of its values is not exactly one member of a documented type.

    >>> decode_json_item(b'{"id": {"S": "o-1"}, "total": {"N": "12.50"}}')
    {'id': 'o-1', 'total': Decimal('12.50')}
    """
    try:
        return {name: _plain(value) for name, value in _ITEM.decode(item).items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, _OddValue, TypeError, RecursionError):
        return {name: _decode_json(value) for name, value in _any_item(item).items()}


def _any_item(json: bytes | msgspec.Raw) -> dict[str, Any]:
    try:
        return _ANY_ITEM.decode(json)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not an item: {words_of(error)}") from error


def same(old: Any, new: Any) -> bool:
    """Whether two values are the same to DynamoDB."""
    # To DynamoDB, true is not 1.
    if isinstance(old, bool) is not isinstance(new, bool):
        return False
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(same, old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(same(value, new[name]) for name, value in old.items())
    return bool(old == new)
