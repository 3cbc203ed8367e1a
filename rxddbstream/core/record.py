"""A stream record as the JSON that it came in, looked into no further than somebody asks.

    bytes of the record                  kept, a copy of its own: it does not keep its page alive
      └── members  (fields_of)           decoded when the first one is asked for; images stay bytes
            └── image  (Image)           its attributes are told apart when the first one is asked for
                  └── attribute          decoded when asked for, and kept

A record of a page of a thousand costs about a microsecond to keep so. botocore, which turns all of it into
Python objects, takes a hundred times that.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any, TypedDict, cast

import msgspec

from rxddbstream.core.values import decode_json_item, decode_json_value, decode_value
from rxddbstream.errors import DecodeError


class EncodedRecord(bytes):
    """A record's JSON, which knows how to become the dict that boto3 returns."""

    __slots__ = ()

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The dict that boto3 returns for it."""


class _Detail(TypedDict, total=False):
    ApproximateCreationDateTime: float
    Keys: msgspec.Raw
    NewImage: msgspec.Raw
    OldImage: msgspec.Raw
    SequenceNumber: str
    SizeBytes: int
    StreamViewType: str


class _Fields(TypedDict, total=False):
    eventID: str
    eventName: str
    dynamodb: _Detail
    userIdentity: dict[str, Any]


_FIELDS = msgspec.json.Decoder(_Fields)
_ATTRIBUTES = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = b"null"

ONE_BY_ONE = 3  # attributes that are decoded alone; whoever asks for more gets all, twice as fast


def fields_of(record: EncodedRecord) -> Mapping[str, Any]:
    """The record's members by name, as boto3 has them, but that times are numbers and images are JSON.

    What is not as DynamoDB documents it (a null, a number in place of a string) is left to botocore.
    """
    try:
        return cast(Mapping[str, Any], _FIELDS.decode(record))
    except msgspec.MsgspecError:
        return record.to_dict()


def size_of(record: Mapping[str, Any] | EncodedRecord) -> int:
    """Its size in bytes: of its JSON, or what the service says."""
    if isinstance(record, EncodedRecord):
        return len(record)
    return (record.get("dynamodb") or {}).get("SizeBytes") or 0


class Image(Mapping[str, Any]):
    """An item: attribute name to plain Python value, each decoded when it is first asked for.

    Equal to a dict of the same attributes; `dict(image)` makes one.

    Args:
        item: attribute values as boto3 has them, or their JSON.

    >>> image = Image({"id": {"S": "o-1"}, "total": {"N": "12.50"}})
    >>> image["total"], "status" in image, image
    (Decimal('12.50'), False, {'id': 'o-1', 'total': Decimal('12.50')})
    """

    __slots__ = ("_attributes", "_decoded", "_item")

    def __init__(self, item: Mapping[str, Any] | msgspec.Raw) -> None:
        self._item = item
        self._attributes: Mapping[str, Any] | None = None
        self._decoded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        decoded = self._decoded
        if name in decoded:
            return decoded[name]
        if len(decoded) == ONE_BY_ONE and (whole := self._whole()) is not None:
            return whole[name]
        value = self._parts()[name]
        decode = decode_json_value if isinstance(value, msgspec.Raw) else decode_value
        decoded[name] = result = decode(value)
        return result

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts())

    def __len__(self) -> int:
        return len(self._parts())

    def __contains__(self, name: object) -> bool:
        return name in self._parts()

    def items(self) -> ItemsView[str, Any]:
        """All attributes; faster than one by one."""
        whole = self._whole()
        return super().items() if whole is None else whole.items()

    def values(self) -> ValuesView[Any]:
        """All values; faster than one by one."""
        whole = self._whole()
        return super().values() if whole is None else whole.values()

    def _parts(self) -> Mapping[str, Any]:
        """The attributes, not decoded."""
        parts = self._attributes
        if parts is None:
            self._attributes = parts = _parts_of(self._item)
        return parts

    def _whole(self) -> dict[str, Any] | None:
        """All attributes, decoded; None where that is to be done one by one."""
        if isinstance(self._item, msgspec.Raw):
            try:
                decoded = decode_json_item(self._item) | self._decoded
            except DecodeError:
                return None  # one that cannot be decoded must not hide the others
            self._item = self._attributes = self._decoded = decoded
        return self._decoded if self._item is self._decoded else None

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


def image_of(item: Mapping[str, Any] | msgspec.Raw | None) -> Image | None:
    """The image of a record's member; None where the record has none, which an empty one is not."""
    if item is None or (isinstance(item, msgspec.Raw) and bytes(item) == _NULL):
        return None
    return Image(item)


def _parts_of(item: Mapping[str, Any] | msgspec.Raw) -> Mapping[str, Any]:
    if not isinstance(item, msgspec.Raw):
        return item
    try:
        return _ATTRIBUTES.decode(item)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not an item: {error}. The record as it came is in Change.record.") from error
