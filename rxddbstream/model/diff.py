"""What really changed between an item's two images.

>>> old = {"id": {"S": "o-1"}, "total": {"N": "2"}, "note": {"S": "x"}}
>>> new = {"id": {"S": "o-1"}, "total": {"N": "3"}}
>>> record = {"eventName": "MODIFY", "dynamodb": {"OldImage": old, "NewImage": new}}
>>> diff = diff_of(Change(record, "shard-1"))
>>> diff.added, diff.removed, diff.changed
({}, {'note': 'x'}, {'total': (Decimal('2'), Decimal('3'))})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from rxddbstream.errors import ConfigurationError
from rxddbstream.model.change import Change, place_of
from rxddbstream.model.paths import Parts, look_up
from rxddbstream.model.record import Image
from rxddbstream.model.values import same

NEEDED = "NEW_AND_OLD_IMAGES"


class Diff(NamedTuple):
    """What a change did to an item's attributes.

    It is a tuple that has the change in it: `release()` releases that.

    Attributes:
        change: the change.
        added: attributes that are new, with their values; all of an item that was inserted.
        removed: attributes that have gone, with the values they had; all of an item that was removed.
        changed: the old and the new value of attributes that have another one now.
    """

    change: Change
    added: Mapping[str, Any]
    removed: Mapping[str, Any]
    changed: Mapping[str, tuple[Any, Any]]


def diff_of(change: Change) -> Diff:
    """What a change did to an item's attributes.

    Raises:
        ConfigurationError: the stream leaves out an image.
    """
    old, new = images_of(change)
    return Diff(
        change,
        added={name: new[name] for name in new if name not in old},
        removed={name: old[name] for name in old if name not in new},
        changed={name: (old[name], new[name]) for name in new if name in old and _differ(old, new, name)},
    )


def has_changed(change: Change, paths: Sequence[Parts]) -> bool:
    """Whether there is another value at the end of one of these paths, or, without any, anywhere.

    Raises:
        ConfigurationError: the stream leaves out an image.
    """
    old, new = images_of(change)
    if paths:
        return any(not same(look_up(old, path), look_up(new, path)) for path in paths)
    return old.keys() != new.keys() or any(_differ(old, new, name) for name in new)


def images_of(change: Change) -> tuple[Image, Image]:
    """The item before and after the change, empty where it was not there.

    Raises:
        ConfigurationError: the stream leaves out an image.
    """
    old, new = cast(Image | None, change.old_image), cast(Image | None, change.new_image)
    lacks = (old is None and change.event_name != "INSERT") or (new is None and change.event_name != "REMOVE")
    if lacks or change.view_type not in (NEEDED, None):
        raise ConfigurationError(
            f"the items before and after {place_of(change)} are needed, and the stream has view type "
            f"{change.view_type}; it has to be {NEEDED}, which is set when a table's stream is enabled"
        )
    return _NO_ITEM if old is None else old, _NO_ITEM if new is None else new


_NO_ITEM = Image({})


def _differ(old: Image, new: Image, name: str) -> bool:
    return not old.has_same_text(new, name) and not same(old[name], new[name])
