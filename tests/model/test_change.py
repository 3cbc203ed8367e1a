"""Shards, changes and events as values."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from time import tzset
from typing import Any

import pytest

from rxddbstream.checkpoints.frontier import Frontier
from rxddbstream.errors import ConnectionLost, DataTrimmed, DecodeError
from rxddbstream.model.change import Change
from rxddbstream.model.events import Gap, Retrying, ShardClosed, ShardOpened, Throttled
from rxddbstream.model.position import Latest, TrimHorizon
from rxddbstream.model.shard import Shard

NUMBER = "100000000000000000001"


class Counting(Mapping[str, Any]):
    """An item that counts how often it is walked through."""

    def __init__(self, item: dict[str, Any]) -> None:
        self._item = item
        self.walks = 0

    def __getitem__(self, name: str) -> Any:
        return self._item[name]

    def __iter__(self) -> Any:
        self.walks += 1
        return iter(self._item)

    def __len__(self) -> int:
        return len(self._item)


def change(**detail: Any) -> Change:
    return Change({"eventName": "MODIFY", "dynamodb": detail}, "shard-1")


IMAGES: dict[str, Callable[[Change], Any]] = {
    "Keys": lambda change: change.keys,
    "NewImage": lambda change: change.new_image,
    "OldImage": lambda change: change.old_image,
}


@pytest.mark.parametrize("member", IMAGES)
def test_an_image_is_decoded_when_first_touched_and_once(member: str) -> None:
    items = {name: Counting({"id": {"N": "7"}}) for name in IMAGES}
    touched = change(**items)
    assert [item.walks for item in items.values()] == [0, 0, 0]

    first, second = IMAGES[member](touched), IMAGES[member](touched)

    assert first == {"id": Decimal(7)}
    assert second is first
    assert {name: item.walks for name, item in items.items()} == {**dict.fromkeys(items, 0), member: 1}


def test_what_needs_no_image_decodes_none() -> None:
    bad = {"a": {"unknown": "type"}}
    broken = change(Keys=bad, NewImage=bad, OldImage=bad, SequenceNumber=NUMBER)

    assert broken.event_name == "MODIFY"
    assert broken.sequence_number == NUMBER
    assert broken == change(Keys=bad, NewImage=bad, OldImage=bad, SequenceNumber=NUMBER)
    assert isinstance(hash(broken), int)


@pytest.mark.parametrize("member", IMAGES)
def test_an_attribute_that_cannot_be_decoded_raises_at_each_touch_and_leaves_the_others_readable(
    member: str,
) -> None:
    good = {"id": {"S": "o-1"}}
    bad = {"id": {"unknown": "type"}, "fine": {"S": "yes"}}
    broken = change(**{**dict.fromkeys(IMAGES, good), member: bad})

    for _ in range(2):
        with pytest.raises(DecodeError):
            IMAGES[member](broken)["id"]
    assert IMAGES[member](broken)["fine"] == "yes"
    assert [image(broken) for name, image in IMAGES.items() if name != member] == [{"id": "o-1"}] * 2
    assert broken.record["dynamodb"][member] == bad


@pytest.mark.parametrize("member", ["NewImage", "OldImage"])
def test_an_image_that_is_left_out_is_none_and_an_empty_one_is_empty(member: str) -> None:
    assert IMAGES[member](change()) is None
    assert IMAGES[member](change(**{member: None})) is None
    assert IMAGES[member](change(**{member: {}})) == {}


@pytest.mark.parametrize(
    ("view_type", "members", "images"),
    [
        ("KEYS_ONLY", (), (None, None)),
        ("NEW_IMAGE", ("NewImage",), ({"id": "o-1"}, None)),
        ("OLD_IMAGE", ("OldImage",), (None, {"id": "o-1"})),
        ("NEW_AND_OLD_IMAGES", ("NewImage", "OldImage"), ({"id": "o-1"}, {"id": "o-1"})),
    ],
)
def test_the_view_type_says_which_images_there_are(
    view_type: str, members: tuple[str, ...], images: tuple[Any, Any]
) -> None:
    item = {"id": {"S": "o-1"}}
    seen = change(StreamViewType=view_type, Keys=item, **dict.fromkeys(members, item))

    assert seen.view_type == view_type
    assert seen.keys == {"id": "o-1"}
    assert (seen.new_image, seen.old_image) == images


@pytest.mark.parametrize("record", [{}, {"dynamodb": None}, {"dynamodb": {}}])
def test_missing_fields_are_tolerated(record: dict[str, Any]) -> None:
    bare = Change(record, "shard-1")

    assert bare.event_name == ""
    assert bare.keys == {}
    assert bare.sequence_number == ""
    assert [bare.new_image, bare.old_image, bare.event_id, bare.size_bytes] == [None] * 4
    assert [bare.view_type, bare.user_identity] == [None, None]
    assert bare.is_ttl_delete is False
    assert repr(bare) == "<Change  {} at an unknown time>"


def test_a_change_speaks_the_terms_of_its_record() -> None:
    record = {
        "eventID": "e-1",
        "eventName": "REMOVE",
        "userIdentity": {"PrincipalId": "someone", "Type": "Service"},
        "dynamodb": {"SequenceNumber": NUMBER, "SizeBytes": 26},
    }
    seen = Change(record, "shard-1")

    assert seen.record is record
    assert (seen.event_id, seen.event_name, seen.shard_id) == ("e-1", "REMOVE", "shard-1")
    assert (seen.sequence_number, seen.size_bytes) == (NUMBER, 26)
    assert seen.user_identity == {"PrincipalId": "someone", "Type": "Service"}


@pytest.mark.parametrize(
    "time",
    [
        datetime(2022, 5, 27, 13, 36, 13),
        datetime(2022, 5, 27, 13, 36, 13, tzinfo=UTC),
        datetime(2022, 5, 27, 15, 36, 13, tzinfo=timezone(timedelta(hours=2))),
        datetime(2022, 5, 27, 13, 36, 13, 250_000, tzinfo=UTC),
    ],
    ids=["naive is UTC", "aware", "other zone", "milliseconds"],
)
def test_times_are_aware_and_in_utc_wherever_they_are_read(
    time: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        tzset()
        created_at = change(ApproximateCreationDateTime=time).created_at
    tzset()

    assert created_at.tzinfo is UTC
    assert created_at == datetime(2022, 5, 27, 13, 36, 13, time.microsecond, tzinfo=UTC)


def test_a_missing_time_is_an_error_that_names_the_change() -> None:
    with pytest.raises(DecodeError, match=f"{NUMBER} of shard shard-1 has no time"):
        _ = change(SequenceNumber=NUMBER).created_at


SERVICE = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}


@pytest.mark.parametrize(
    ("name", "identity", "expected"),
    [
        ("REMOVE", SERVICE, True),
        ("MODIFY", SERVICE, False),
        ("REMOVE", None, False),
        ("REMOVE", {**SERVICE, "PrincipalId": "replication.dynamodb.amazonaws.com"}, False),
        ("REMOVE", {"PrincipalId": "dynamodb.amazonaws.com"}, False),
    ],
)
def test_a_removal_by_the_service_itself_is_a_ttl_delete(
    name: str, identity: dict[str, str] | None, expected: bool
) -> None:
    assert Change({"eventName": name, "userIdentity": identity}, "s").is_ttl_delete is expected


def test_the_repr_shows_event_keys_and_time() -> None:
    seen = change(
        Keys={"id": {"S": "o-1"}}, ApproximateCreationDateTime=datetime(2022, 5, 27, 13, 36, 13, tzinfo=UTC)
    )

    assert repr(seen) == "<Change MODIFY {'id': 'o-1'} at 2022-05-27T13:36:13+00:00>"


def test_changes_are_equal_by_record_and_shard_however_far_they_were_decoded() -> None:
    def make(number: str = NUMBER, shard_id: str = "shard-1", name: str = "INSERT") -> Change:
        detail = {"SequenceNumber": number, "Keys": {"id": {"S": "o-1"}}}
        return Change({"eventName": name, "dynamodb": detail}, shard_id)

    touched = make()
    _ = touched.keys

    assert touched == make()
    assert hash(touched) == hash(make())
    assert len({touched, make(), make("2" * 21)}) == 2
    assert make() != make("2" * 21)
    assert make() != make(shard_id="shard-2")
    assert make() != make(name="REMOVE")
    assert make() != make().record


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_decoded_change_can_be_copied_and_pickled(duplicate: Callable[[Change], Change]) -> None:
    seen = change(Keys={"id": {"S": "o-1"}}, NewImage={"n": {"N": "1.50"}})
    assert (seen.keys, seen.new_image, seen.old_image) == ({"id": "o-1"}, {"n": Decimal("1.50")}, None)

    other = duplicate(seen)

    assert other == seen
    assert (other.keys, other.new_image, other.old_image) == (seen.keys, seen.new_image, None)


def test_a_shard_is_built_from_its_description() -> None:
    shard = Shard.from_description(
        {
            "ShardId": "child",
            "ParentShardId": "parent",
            "SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": "9"},
        }
    )

    assert shard == Shard("child", "parent", "9")
    assert shard.is_closed


@pytest.mark.parametrize(
    "description",
    [
        {"ShardId": "s"},
        {"ShardId": "s", "ParentShardId": None, "SequenceNumberRange": None},
        {"ShardId": "s", "ParentShardId": "", "SequenceNumberRange": {}},
        {"ShardId": "s", "SequenceNumberRange": {"StartingSequenceNumber": "1"}},
        {"ShardId": "s", "SequenceNumberRange": {"EndingSequenceNumber": ""}},
    ],
)
def test_a_shard_without_the_optional_members_is_open_and_has_no_parent(description: dict[str, Any]) -> None:
    shard = Shard.from_description(description)

    assert shard == Shard("s")
    assert not shard.is_closed


def test_a_shard_listed_as_its_own_parent_has_none() -> None:
    assert Shard.from_description({"ShardId": "s", "ParentShardId": "s"}) == Shard("s")


def test_a_shard_without_an_id_is_refused() -> None:
    with pytest.raises(KeyError):
        Shard.from_description({"ParentShardId": "p"})


def test_shards_and_events_are_values_and_can_be_pickled() -> None:
    values = [
        Shard("s", "p", "9"),
        ShardOpened(Shard("s"), Latest()),
        ShardClosed(Shard("s")),
        Gap("s", NUMBER, "why"),
    ]
    for value in values:
        assert pickle.loads(pickle.dumps(value)) == value
    assert len({values[0], Shard("s", "p", "9")}) == 1
    for kind in (Retrying, Throttled):
        event = pickle.loads(pickle.dumps(kind("s", ConnectionLost("reset"), 2, 0.5)))
        assert (type(event), event.shard_id, str(event.error), event.attempt) == (kind, "s", "reset", 2)


def test_an_error_of_lost_data_keeps_its_place_when_pickled() -> None:
    error = pickle.loads(pickle.dumps(DataTrimmed("lost", "shard-1", NUMBER)))

    assert (type(error), str(error), error.shard_id, error.after) == (DataTrimmed, "lost", "shard-1", NUMBER)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda change: pickle.loads(pickle.dumps(change))])
def test_a_change_can_be_copied_before_it_was_decoded_and_with_a_frontier(duplicate):
    record = {"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "a"}}, "NewImage": {"id": {"S": "a"}}}}
    change = Change(record, "shard", Frontier(TrimHorizon()))
    other = duplicate(change)
    assert other == change
    assert (other.keys, other.new_image, other.old_image) == ({"id": "a"}, {"id": "a"}, None)


def test_a_change_that_cannot_be_decoded_can_be_looked_at():
    assert "Q" in repr(Change({"dynamodb": {"Keys": {"id": {"Q": "a"}}}}, "shard"))
