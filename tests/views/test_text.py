"""What the printing observers write, to the letter."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from rxddbstream.model.change import Change
from rxddbstream.views.observers import print_change_record, print_json, print_summary
from rxddbstream.views.text import summary, text_of, to_json


def line(change: Change) -> str:
    return text_of(summary(change))


MADE = datetime(2022, 5, 27, 13, 36, 13, tzinfo=UTC)
NUMBER = "100000000000000000001"


def change(name: str = "MODIFY", made: datetime = MADE, **detail: Any) -> Change:
    record = {
        "eventName": name,
        "dynamodb": {"ApproximateCreationDateTime": made, "SequenceNumber": NUMBER, **detail},
    }
    return Change(record, "shard-1")


def keyed(name: str = "MODIFY", made: datetime = MADE, **keys: Any) -> Change:
    return change(name, made, Keys=keys or {"SK": {"S": "item"}, "PK": {"S": "test"}})


@pytest.fixture
def time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets the local time zone."""

    def set_zone(name: str) -> None:
        patch.setenv("TZ", name)
        time.tzset()

    with monkeypatch.context() as patch:
        yield set_zone
    time.tzset()


# --- summary ------------------------------------------------------------------------------------


def test_the_summary_is_one_line_in_local_time_with_sorted_keys(
    time_zone: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    time_zone("Europe/Paris")

    print_summary(keyed())

    assert capsys.readouterr().out == "[2022-05-27T15:36:13+02:00] - MODIFY - PK=test, SK=item\n"


@pytest.mark.parametrize(
    ("zone", "time"),
    [
        ("UTC", "2022-05-27T13:36:13+00:00"),
        ("America/New_York", "2022-05-27T09:36:13-04:00"),
        ("Asia/Kolkata", "2022-05-27T19:06:13+05:30"),
    ],
)
def test_the_summary_has_the_offset_of_the_local_zone(
    time_zone: Callable[[str], None], zone: str, time: str
) -> None:
    time_zone(zone)

    assert line(keyed()) == f"[{time}] - MODIFY - PK=test, SK=item"


def test_the_summary_has_the_offset_that_held_when_the_change_was_made(
    time_zone: Callable[[str], None],
) -> None:
    time_zone("Europe/Paris")

    assert line(keyed(made=datetime(2022, 1, 1, 12, tzinfo=UTC))).startswith("[2022-01-01T13:00:00+01:00]")


def test_the_summary_leaves_out_fractions_of_a_second(time_zone: Callable[[str], None]) -> None:
    time_zone("UTC")

    assert line(keyed(made=MADE.replace(microsecond=999_000))).startswith("[2022-05-27T13:36:13+00:00]")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("INSERT", " - INSERT - "),
        ("MODIFY", " - MODIFY - "),
        ("REMOVE", " - REMOVE - "),
        ("PUT", " -  PUT   - "),
        ("", " -        - "),
    ],
)
def test_the_event_is_centred_in_six(name: str, shown: str) -> None:
    assert shown in line(keyed(name))


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ({"S": "a b, c=d"}, "id=a b, c=d"),
        ({"N": "0.0000001"}, "id=0.0000001"),
        (
            {"N": "12345678901234567890123456789012345678"},
            "id=12345678901234567890123456789012345678",
        ),
        ({"B": b"\x00a"}, r"id=b'\x00a'"),
    ],
)
def test_a_key_is_shown_as_the_service_wrote_it(key: dict[str, Any], shown: str) -> None:
    assert line(keyed(id=key)).endswith(f" - {shown}")


# --- record -------------------------------------------------------------------------------------


def test_the_record_is_printed_as_boto3s_dict(capsys: pytest.CaptureFixture[str]) -> None:
    seen = keyed(id={"B": b"\x00"}, n={"N": "1.50"})

    print_change_record(seen)

    assert capsys.readouterr().out == f"{seen.record}\n"
    assert capsys.readouterr().err == ""


# --- JSON ---------------------------------------------------------------------------------------


def test_the_json_line_has_all_members_in_a_stable_order(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(
        change("INSERT", Keys={"id": {"S": "o-1"}}, NewImage={"b": {"BOOL": True}, "a": {"NULL": True}})
    )

    assert capsys.readouterr().out == (
        '{"event_name":"INSERT","keys":{"id":"o-1"},"new_image":{"a":null,"b":true},"old_image":null,'
        f'"created_at":"2022-05-27T13:36:13Z","sequence_number":"{NUMBER}","shard_id":"shard-1"}}\n'
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"S": 'line\n"quoted" ü'}, '"line\\n\\"quoted\\" ü"'),
        ({"N": "12345678901234567890123456789012345678"}, "12345678901234567890123456789012345678"),
        ({"N": "-1.50"}, "-1.50"),
        ({"N": "9.9999999999999999999999999999999999999E+125"}, None),
        ({"N": "1E-130"}, None),
        ({"B": b"\x00\x01\xff"}, '"AAH/"'),
        ({"B": b""}, '""'),
        ({"BOOL": False}, "false"),
        ({"NULL": True}, "null"),
        ({"SS": ["b", "a", "B"]}, '["B","a","b"]'),
        ({"NS": ["10", "9", "-1", "0.5"]}, "[-1,0.5,9,10]"),
        ({"BS": [b"b", b"a"]}, '["YQ==","Yg=="]'),
        ({"L": []}, "[]"),
        ({"M": {}}, "{}"),
        (
            {"L": [{"M": {"z": {"B": b"\x00"}, "a": {"NS": ["2", "1"]}}}, {"L": [{"NULL": True}]}]},
            '[{"a":[1,2],"z":"AA=="},[null]]',
        ),
    ],
)
def test_each_type_has_its_json(value: dict[str, Any], written: str | None) -> None:
    line = to_json(change(Keys={"id": {"S": "o-1"}}, NewImage={"v": value}))

    read = json.loads(line, parse_float=Decimal, parse_int=Decimal)["new_image"]["v"]
    if written is None:
        assert read == Decimal(value["N"])
    else:
        assert f'"new_image":{{"v":{written}}},"old_image"' in line


def test_an_empty_image_and_none_are_told_apart() -> None:
    line = json.loads(to_json(change(Keys={}, NewImage={})))

    assert (line["new_image"], line["old_image"]) == ({}, None)


def test_the_json_line_is_one_line_whatever_the_item_holds() -> None:
    line = to_json(change(Keys={"id": {"S": "a\nb\r\u2028c"}}, NewImage={"\n": {"S": "\n"}}))

    assert "\n" not in line
    assert "\r" not in line
    assert json.loads(line)["keys"] == {"id": "a\nb\r\u2028c"}


# --- flushing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("observer", [print_summary, print_change_record, print_json])
def test_each_line_is_flushed(monkeypatch: pytest.MonkeyPatch, observer: Callable[[Change], None]) -> None:
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(pipe), encoding="utf-8"))

    observer(keyed())

    assert pipe.getvalue().endswith(b"\n")
    assert pipe.getvalue().count(b"\n") == 1
