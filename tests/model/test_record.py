"""A record as it came: nothing is decoded that nobody asked for, and nothing twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from rxddbstream.model import record as records
from rxddbstream.model.record import Image, as_json

NOON = 1_700_000_000.0
ITEM: dict[str, Any] = {"id": {"S": "o-1"}, "total": {"N": "12.50"}, "lines": {"L": [{"S": "tea"}]}}


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local time zone is not UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XYZ-5")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_away")
@pytest.mark.parametrize(
    "created_at",
    [
        datetime.fromtimestamp(NOON, timezone(timedelta(hours=-3))),
        datetime.fromtimestamp(NOON, timezone(timedelta(0))),
        datetime.fromtimestamp(NOON, timezone(timedelta(0))).replace(tzinfo=None),  # of a stand-in
    ],
    ids=["elsewhere", "UTC", "without a zone"],
)
def test_a_time_is_the_same_second_in_json_whatever_zone_it_has(created_at: datetime) -> None:
    record = {"eventName": "INSERT", "dynamodb": {"ApproximateCreationDateTime": created_at}}

    assert json.loads(as_json(record))["dynamodb"] == {"ApproximateCreationDateTime": NOON}


def raw(item: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(item).encode())


def test_what_has_the_same_text_is_told_without_decoding_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("decode_json_attribute", "decode_json_item", "decode_value"):
        monkeypatch.setattr(records, name, lambda *_: pytest.fail("it was decoded"))
    changed = {**ITEM, "total": {"N": "13"}}
    for old, new in ((Image(raw(ITEM)), Image(raw(changed))), (Image(ITEM), Image(changed))):
        assert [new.has_same_text(old, name) for name in ("id", "total", "lines", "none")] == [
            True,
            False,
            True,
            False,
        ]


def test_an_image_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    usual = records.decode_json_item
    monkeypatch.setattr(records, "decode_json_item", lambda item: calls.append(item) or usual(item))
    image = Image(raw({**ITEM, "status": {"S": "new"}}))

    for _ in range(3):
        assert dict(image.items())["status"] == "new"
        assert len(image.values()) == 4
        assert [image[name] for name in ("id", "status")] == ["o-1", "new"]
    assert len(calls) == 1
