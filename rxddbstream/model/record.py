"""A stream record as it came in JSON, looked into no further than somebody asks.

    page                            split by msgspec into records, in one go
      └── record  (EncodedRecord)   its members; each image is a copy of its JSON, and keeps no page alive
            └── image  (Image)
                  └── attribute     decoded when it is asked for, and kept; with a few of them, all are

So a record costs about two microseconds. botocore, which turns all of it into Python objects, takes a hundred
times that.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

from rxddbstream.errors import DecodeError
from rxddbstream.model.encoding import encode, words_of
from rxddbstream.model.values import decode_json_attribute, decode_json_item, decode_value

Place: TypeAlias = tuple[str, str | None]

ABSENT = msgspec.Raw()

ONE_BY_ONE = 3  # attributes that are decoded alone; whoever asks for more gets all, which is faster

DETAIL = {
    "created_at": "ApproximateCreationDateTime",
    "keys": "Keys",
    "new_image": "NewImage",
    "old_image": "OldImage",
    "sequence_number": "SequenceNumber",
    "size_bytes": "SizeBytes",
    "view_type": "StreamViewType",
}
FIELDS = {
    "event_id": "eventID",
    "event_name": "eventName",
    "event_version": "eventVersion",
    "event_source": "eventSource",
    "aws_region": "awsRegion",
    "detail": "dynamodb",
    "user_identity": "userIdentity",
}
"""Their names here and in JSON."""

_OURS = {theirs: ours for ours, theirs in (DETAIL | FIELDS).items()}


class Members(msgspec.Struct, gc=False):
    """Members of an object in JSON."""

    def get(self, name: str, default: Any = None) -> Any:
        """A member by its name in JSON, as a dict has it."""
        value = getattr(self, _OURS.get(name, ""), None)
        return default if value is None or value is ABSENT else value


class Detail(Members, gc=False, omit_defaults=True, rename=DETAIL):
    """A record's member `dynamodb`."""

    created_at: float | None = None
    keys: msgspec.Raw = ABSENT
    new_image: msgspec.Raw = ABSENT
    old_image: msgspec.Raw = ABSENT
    sequence_number: str | None = None
    size_bytes: int | None = None
    view_type: str | None = None


NO_DETAIL = Detail()


class Fields(Members, gc=False, omit_defaults=True, rename=FIELDS):
    """A record's members."""

    event_id: str | None = None
    event_name: str | None = None
    event_version: str | None = None
    event_source: str | None = None
    aws_region: str | None = None
    detail: Detail | None = None
    user_identity: dict[str, Any] | None = None


class EncodedRecord(Fields):
    """A record decoded from JSON, which knows how to become the dict that boto3 returns."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The dict that boto3 returns for it."""

    def detach(self) -> None:
        """Copy the images out of the page that they are still a part of."""
        detail = self.detail
        if detail is not None:
            if detail.keys is not ABSENT:
                detail.keys = detail.keys.copy()
            if detail.new_image is not ABSENT:
                detail.new_image = detail.new_image.copy()
            if detail.old_image is not ABSENT:
                detail.old_image = detail.old_image.copy()


def as_json(record: Mapping[str, Any] | EncodedRecord) -> bytes:
    """A record as the service sends it, on one line: types as DynamoDB has them, binary in Base64."""
    return on_one_line(encode(_JSON, encodable(record)))


def encodable(record: Mapping[str, Any] | EncodedRecord) -> Mapping[str, Any] | EncodedRecord:
    """A record for msgspec's encoder, which writes binary as the service does, but not times."""
    if isinstance(record, EncodedRecord):
        return record
    detail = record.get("dynamodb") or {}
    created_at = detail.get(DETAIL["created_at"])
    if not isinstance(created_at, datetime):
        return record
    # One without a zone comes from stand-ins alone, and they mean UTC.
    aware = created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC)
    return {**record, "dynamodb": {**detail, DETAIL["created_at"]: aware.timestamp()}}


def on_one_line(json: bytes) -> bytes:
    """The same JSON; an image is written as it came, and may have line breaks between its words."""
    return json.replace(b"\r", b" ").replace(b"\n", b" ")


_JSON = msgspec.json.Encoder()


def fields_of(record: Mapping[str, Any]) -> Fields:
    """The members of a record as boto3 has it.

    Raises:
        DecodeError: it is none.
    """
    if not isinstance(record, Mapping):
        raise DecodeError(f"a record was expected, not {type(record).__name__}")
    detail = record.get("dynamodb") or {}
    return Fields(
        event_id=record.get("eventID"),
        event_name=record.get("eventName"),
        user_identity=record.get("userIdentity"),
        detail=Detail(**{ours: detail[name] for ours, name in DETAIL.items() if name in detail}),
    )


class Image(Mapping[str, Any]):
    """An item: attribute name to plain Python value, each decoded when it is first asked for.

    Equal to a dict of the same attributes; `dict(image)` makes one.

    Args:
        item: attribute values as boto3 has them, or their JSON.
        place: whose it is, for errors: the shard's ID and the change's sequence number.

    >>> image = Image({"id": {"S": "o-1"}, "total": {"N": "12.50"}})
    >>> image["total"], "status" in image, image
    (Decimal('12.50'), False, {'id': 'o-1', 'total': Decimal('12.50')})
    """

    __slots__ = ("_decoded", "_item", "_parts", "_place")

    def __init__(self, item: Mapping[str, Any] | msgspec.Raw, place: Place | None = None) -> None:
        self._item = item
        self._place = place
        self._parts: Mapping[str, Any] | None = None
        self._decoded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        decoded = self._decoded
        if name in decoded:
            return decoded[name]
        if len(decoded) == ONE_BY_ONE and (whole := self._whole()) is not None:
            return whole[name]
        item = self._item
        try:
            if isinstance(item, msgspec.Raw):
                value = decode_json_attribute(item, name)
            else:
                value = decode_value(item[name])
        except DecodeError as error:
            raise self._placed(error) from error.__cause__
        decoded[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def has_same_text(self, other: Image, name: str) -> bool:
        """Whether both have an attribute, and in the same words: a look that does not decode it."""
        mine, theirs = self._names(), other._names()
        if mine is self._decoded or theirs is other._decoded or name not in mine or name not in theirs:
            return False
        return bool(mine[name] == theirs[name])

    def items(self) -> ItemsView[str, Any]:
        """All attributes; faster than one by one."""
        whole = self._whole()
        return super().items() if whole is None else whole.items()

    def values(self) -> ValuesView[Any]:
        """All values; faster than one by one."""
        whole = self._whole()
        return super().values() if whole is None else whole.values()

    def _names(self) -> Mapping[str, Any]:
        if not isinstance(self._item, msgspec.Raw):
            return self._item
        if self._parts is None:
            try:
                self._parts = _PARTS.decode(self._item)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise self._placed(DecodeError(f"not an item: {words_of(error)}")) from error
        return self._parts

    def _placed(self, error: DecodeError) -> DecodeError:
        return error if self._place is None else DecodeError(f"{words_for(*self._place)}: {error}")

    def _whole(self) -> dict[str, Any] | None:
        """All attributes, decoded; None where that is to be done one by one."""
        if isinstance(self._item, msgspec.Raw):
            try:
                decoded = decode_json_item(self._item) | self._decoded
            except DecodeError:
                return None  # one that cannot be decoded must not hide the others
            self._item = self._decoded = decoded
        return self._decoded if self._item is self._decoded else None

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def image_of(item: Mapping[str, Any] | msgspec.Raw | None, place: Place) -> Image | None:
    """The image of a record's member; None where the record has none, which an empty one is not."""
    if item is None or item is ABSENT or (isinstance(item, msgspec.Raw) and bytes(item) == b"null"):
        return None
    return Image(item, place)


def words_for(shard_id: str, sequence_number: str | None) -> str:
    """What an error calls a change."""
    return f"change {sequence_number or ''} of shard {shard_id}"
