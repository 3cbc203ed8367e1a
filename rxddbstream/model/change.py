"""A change of an item. It decodes its record no further than it is asked for: see `record.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rxddbstream.errors import DecodeError
from rxddbstream.model.origin import Origin
from rxddbstream.model.record import (
    NO_DETAIL,
    Detail,
    EncodedRecord,
    Fields,
    Image,
    fields_of,
    image_of,
    words_for,
)
from rxddbstream.model.times import FIRST_SECOND, LAST_SECOND

_UNREAD: Any = object()  # an image that nobody has asked for; None says that there is none


class Change:
    """One change of one item, in AWS's own terms.

    It keeps its record as it came, and decodes what is asked for: an image's attributes one by one.

    Attributes:
        shard_id: the shard that the change was read from.
        origin: the reading that it came from, which holds and releases it; None for one made by hand.

    >>> change = Change({"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "o-1"}}}}, "shard-1")
    >>> change.event_name, change.keys, change.new_image
    ('INSERT', {'id': 'o-1'}, None)
    """

    __slots__ = (
        "_fields",
        "_keys",
        "_new_image",
        "_old_image",
        "_record",
        "origin",
        "shard_id",
    )

    def __init__(
        self,
        record: Mapping[str, Any] | EncodedRecord,
        shard_id: str,
        origin: Origin | None = None,
    ) -> None:
        self._record = record
        self.shard_id = shard_id
        self.origin = origin
        self._fields: Fields | None = record if isinstance(record, EncodedRecord) else None
        self._keys: Image | None = _UNREAD
        self._new_image: Image | None = _UNREAD
        self._old_image: Image | None = _UNREAD

    @property
    def record(self) -> Mapping[str, Any]:
        """The dict that boto3 returns for it, to the letter.

        Raises:
            DecodeError: boto3 makes none of it.
        """
        if isinstance(self._record, EncodedRecord):
            try:
                self._record = self._record.to_dict()
            except DecodeError as error:
                raise DecodeError(f"{place_of(self)}: {error}") from error.__cause__
        return self._record

    @property
    def record_as_it_came(self) -> Mapping[str, Any] | EncodedRecord:
        """The record, decoded no further than it is by now."""
        return self._record

    @property
    def event_name(self) -> str:
        """`"INSERT"`, `"MODIFY"` or `"REMOVE"`."""
        return self._members.event_name or ""

    @property
    def keys(self) -> Mapping[str, Any]:
        """The item's primary key, a mapping of attribute names to plain Python values."""
        if self._keys is _UNREAD:
            self._keys = self._image_of(self._detail.keys)
        return self._keys or {}

    @property
    def new_image(self) -> Mapping[str, Any] | None:
        """The item after the change; None where there is none or the view type leaves it out.

        An attribute is decoded when it is asked for, and one that DynamoDB does not document raises
        `DecodeError` then.
        """
        if self._new_image is _UNREAD:
            self._new_image = self._image_of(self._detail.new_image)
        return self._new_image

    @property
    def old_image(self) -> Mapping[str, Any] | None:
        """The item before the change; None where there is none or the view type leaves it out."""
        if self._old_image is _UNREAD:
            self._old_image = self._image_of(self._detail.old_image)
        return self._old_image

    @property
    def created_at(self) -> datetime:
        """When the change was made, an aware datetime in UTC; approximate, whole seconds on some services.

        Raises:
            DecodeError: the record has no time, or one that is not in seconds since the epoch.
        """
        created_at: datetime | float | None = self._detail.created_at
        if created_at is None:
            raise DecodeError(f"{place_of(self)} has no time")
        if not isinstance(created_at, datetime):
            try:
                return datetime.fromtimestamp(created_at, UTC)
            except (ValueError, OverflowError, OSError, TypeError):
                raise DecodeError(
                    f"{place_of(self)} has the time {created_at!r}: DynamoDB Streams has seconds since the "
                    "epoch, and milliseconds lie beyond the calendar"
                ) from None
        # A datetime without a zone comes from stand-ins alone, and they mean UTC.
        return created_at.astimezone(UTC) if created_at.tzinfo else created_at.replace(tzinfo=UTC)

    @property
    def timestamp(self) -> float:
        """`created_at` in seconds since the epoch.

        Raises:
            DecodeError: as for `created_at`.
        """
        created_at = self._detail.created_at
        if type(created_at) is float and FIRST_SECOND <= created_at <= LAST_SECOND:
            return created_at
        return self.created_at.timestamp()

    @property
    def has_time(self) -> bool:
        """Whether the record says when it was made, as AWS's records do."""
        return self._detail.created_at is not None

    @property
    def sequence_number(self) -> str:
        """Its place in the shard, a numeric string of 21 to 40 digits; compare as int."""
        return self._detail.sequence_number or ""

    @property
    def event_id(self) -> str | None:
        """Globally unique ID of the change."""
        return self._members.event_id

    @property
    def size_bytes(self) -> int | None:
        """Size of the record in bytes, as the service counts it."""
        return self._detail.size_bytes

    @property
    def view_type(self) -> str | None:
        """Which images the stream has, such as `"NEW_AND_OLD_IMAGES"` or `"KEYS_ONLY"`."""
        return self._detail.view_type

    @property
    def user_identity(self) -> Mapping[str, str] | None:
        """Who made the change, where it was the service itself (`PrincipalId` and `Type`)."""
        return self._members.user_identity

    @property
    def is_ttl_delete(self) -> bool:
        """Whether the item was removed because its time to live ran out.

        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html
        """
        return self.event_name == "REMOVE" and self.user_identity == {
            "Type": "Service",
            "PrincipalId": "dynamodb.amazonaws.com",
        }

    def _image_of(self, item: Any) -> Image | None:
        return image_of(item, (self.shard_id, self._detail.sequence_number))

    @property
    def _members(self) -> Fields:
        fields = self._fields
        if fields is None:
            self._fields = fields = fields_of(self.record)
        return fields

    @property
    def _detail(self) -> Detail:
        return self._members.detail or NO_DETAIL

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Change):
            return NotImplemented
        return self.shard_id == other.shard_id and self.record == other.record

    def __hash__(self) -> int:
        return hash((self.shard_id, self.sequence_number))

    def __reduce__(self) -> tuple[type[Change], tuple[Mapping[str, Any], str]]:
        return type(self), (self.record, self.shard_id)  # the rest is for this process alone

    def __repr__(self) -> str:
        try:
            keys: object = dict(self.keys)
        except DecodeError:
            keys = self._keys_as_they_came()
        try:
            time = self.created_at.isoformat()
        except DecodeError:
            time = "an unknown time"
        return f"<Change {self.event_name} {keys} at {time}>"

    def _keys_as_they_came(self) -> object:
        try:
            return self.record.get("dynamodb", {}).get("Keys")
        except DecodeError:
            return "with keys that cannot be read"

    def _repr_html_(self) -> str:
        from rxddbstream.model.html import html

        return html(self)


def has_sound_time(change: Change) -> bool:
    """Whether a change says when it was made. A time ahead of the answer that had it says nothing.

    Raises:
        DecodeError: as for `Change.created_at`.
    """
    origin = change.origin
    return change.has_time and (origin is None or change.timestamp <= origin.latest)


def sound_time(changes: Iterable[Change]) -> datetime | None:
    """When the first change was made that says so soundly."""
    return next((change.created_at for change in changes if has_sound_time(change)), None)


def place_of(change: Change) -> str:
    """What an error calls a change: not by its keys, since an error may be logged.

    >>> place_of(Change({"dynamodb": {"SequenceNumber": "100"}}, "shard-1"))
    'change 100 of shard shard-1'
    """
    return words_for(change.shard_id, change.sequence_number)
