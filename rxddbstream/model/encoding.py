"""JSON of whatever a change has in it, halves of characters included."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

import msgspec


def words_of(error: Exception) -> str:
    """What is wrong with JSON that could not be decoded, without a word of it.

    msgspec steps over text that nobody asks for, and so finds a byte that was broken on its way late.

    >>> try:
    ...     msgspec.json.decode(b'"caf\\xe9"', type=str)
    ... except ValueError as error:
    ...     words_of(error)
    'a text that is no UTF-8; it was broken on its way, and comes whole when it is read again'
    """
    if isinstance(error, UnicodeDecodeError):
        return "a text that is no UTF-8; it was broken on its way, and comes whole when it is read again"
    if isinstance(error, RecursionError):
        return "what is nested too deep"
    return str(error)


def encode(encoder: msgspec.json.Encoder, value: Any) -> bytes:
    """A value as the encoder writes it.

    A surrogate without its other half, which is no character, and which Python's own parser of JSON lets
    through, is written as its escape, as JSON may have it.

    >>> encode(msgspec.json.Encoder(), {"id": "\\ud800"})
    b'{"id":"\\\\ud800"}'
    """
    try:
        return encoder.encode(value)
    except UnicodeEncodeError:
        return _text(encoder, value).encode()


def _text(encoder: msgspec.json.Encoder, value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.fields(value)
        return _object(encoder, [(field.encode_name, getattr(value, field.name)) for field in fields])
    if isinstance(value, Mapping):
        items = value.items()
        return _object(encoder, sorted(items) if encoder.order == "deterministic" else items)
    if isinstance(value, Set):
        return f"[{','.join(sorted(_text(encoder, element) for element in value))}]"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return f"[{','.join(_text(encoder, element) for element in value)}]"
    return encoder.encode(value).decode()


def _object(encoder: msgspec.json.Encoder, items: Any) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{_text(encoder, inner)}" for name, inner in items) + "}"
