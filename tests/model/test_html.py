"""How a notebook shows a change."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rxddbstream as rxd
from rxddbstream.aws.parser import accelerated
from rxddbstream.model.html import LONGEST, MOST_ROWS
from rxddbstream.testing import SimulatedStream


class Rows(HTMLParser):
    """The text of each row's cells, and whether they are bold."""

    def __init__(self, text):
        super().__init__()
        self.rows: list[list[str]] = []
        self.bold: list[bool] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.bold.append(False)
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.bold[-1] |= "font-weight:bold" in (dict(attrs).get("style") or "")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data


def table(change):
    return Rows(change._repr_html_())


def changes_of(view_type="NEW_AND_OLD_IMAGES"):
    sim = SimulatedStream(view_type=view_type)
    records = [
        sim.put("o-1", status="new", total=2, note="x"),
        sim.put("o-1", status="paid", total=2, by="ada"),
        sim.remove("o-1"),
    ]
    return [rxd.Change(record, "shard-1") for record in records]


def test_what_was_modified_is_marked():
    _, modified, _ = changes_of()
    shown = table(modified)
    assert shown.rows == [
        ["", "old", "new"],
        ["id key", "'o-1'", "'o-1'"],
        ["status", "'new'", "'paid'"],
        ["total", "2", "2"],
        ["note", "'x'", "—"],
        ["by", "—", "'ada'"],
    ]
    assert shown.bold == [False, False, True, False, True, True]
    text = modified._repr_html_()
    assert f"<b>MODIFY</b> {modified.created_at.isoformat()}" in text
    assert f"sequence number {modified.sequence_number}" in text


def test_an_insert_and_a_removal_have_one_image():
    inserted, _, removed = changes_of()
    assert table(inserted).rows[0] == ["", "new"]
    assert table(removed).rows[0] == ["", "old"]
    assert table(removed).rows[-1] == ["by", "'ada'"]


@pytest.mark.parametrize(
    ("view_type", "head"),
    [("KEYS_ONLY", ["", "value"]), ("NEW_IMAGE", ["", "new"]), ("OLD_IMAGE", ["", "old"])],
)
def test_every_view_type(view_type, head):
    _, modified, _ = changes_of(view_type)
    rows = table(modified).rows
    assert rows[:2] == [head, ["id key", "'o-1'"]]
    assert len(rows) == (2 if view_type == "KEYS_ONLY" else 5)


def change_of(**detail):
    return rxd.Change({"eventName": "MODIFY", "dynamodb": detail}, "shard-1")


def test_an_empty_image_is_one_and_a_key_may_be_left_out():
    change = change_of(Keys={"id": {"S": "a"}}, OldImage={}, NewImage={"id": {"S": "a"}, "n": {"BOOL": True}})
    assert table(change).rows[1:] == [["id key", "'a'", "'a'"], ["n", "—", "True"]]
    assert "the old image is empty" in change._repr_html_()
    assert "at an unknown time" in change._repr_html_()


def test_true_is_not_one():
    change = change_of(OldImage={"n": {"BOOL": True}}, NewImage={"n": {"N": "1"}})
    assert table(change).bold == [False, True]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"S": "<b>&\"'"}, repr("<b>&\"'")),
        ({"N": "12345678901234567890.5"}, "12345678901234567890.5"),
        ({"B": b"\x00\xff"}, "2 bytes: AP8="),
        ({"B": b""}, "no bytes"),
        ({"NULL": True}, "None"),
        ({"SS": ["b", "a"]}, "{'a', 'b'}"),
        ({"BS": [b"\x01"]}, "{1 byte: AQ==}"),
        ({"L": [{"N": "1"}, {"M": {"x": {"BOOL": False}}}]}, "[1, {x: False}]"),
    ],
)
def test_values(value, shown):
    change = change_of(NewImage={"v": value})
    assert table(change).rows == [["", "new"], ["v", shown]]
    assert "<b>&" not in change._repr_html_()


def test_long_values_and_many_attributes_are_shortened():
    attributes = {f"a{number}": {"S": "x" * 300_000} for number in range(MOST_ROWS + 7)}
    shown = table(change_of(NewImage=attributes))
    assert {len(cell) for _, cell in shown.rows[1:]} == {LONGEST}
    assert len(shown.rows) == 1 + MOST_ROWS
    assert "and 7 attributes more" in change_of(NewImage=attributes)._repr_html_()
    assert table(change_of(NewImage={"b": {"B": b"\0" * 5000}})).rows[1][1].startswith("5,000 bytes: AAAA")


def test_of_long_values_the_part_that_differs_is_shown():
    change = change_of(OldImage={"a": {"S": "x" * 500 + "old"}}, NewImage={"a": {"S": "x" * 500 + "new"}})
    assert table(change).rows[1] == ["a", f"…{'x' * 20}old'", f"…{'x' * 20}new'"]


def test_an_attribute_that_cannot_be_decoded_does_not_hide_the_others():
    change = change_of(Keys={"id": {"S": "a"}}, NewImage={"odd": {"X": "<1>"}, "n": {"N": "1"}})
    assert table(change).rows[2:] == [["odd", "{'X': '<1>'} (cannot be decoded)"], ["n", "1"]]


def test_a_record_that_is_none_is_shown_as_it_came():
    for record in ({"dynamodb": {"NewImage": 7}}, {"dynamodb": {"Keys": "<id>"}}, {"dynamodb": 3}):
        text = rxd.Change(record, "shard-1")._repr_html_()
        assert "a change that cannot be decoded" in text
        assert "<id>" not in text
    assert "<b>INSERT</b>" in rxd.Change({"eventName": "INSERT"}, "shard-1")._repr_html_()


def as_it_comes(**detail):
    """A change of a record that was split by msgspec."""
    body = json.dumps({"Records": [{"eventName": "MODIFY", "dynamodb": detail}]}).encode()
    parser = accelerated(botocore.session.get_session()).get_component("response_parser_factory")
    shape = botocore.session.get_session().get_service_model("dynamodbstreams").shape_for("GetRecordsOutput")
    response = {"status_code": 200, "headers": {}, "body": body}
    [record] = parser.create_parser("json").parse(response, shape)["Records"]
    return rxd.Change(record, "shard-1")


def test_a_record_as_it_comes():
    change = as_it_comes(
        Keys={"id": {"S": "a"}},
        OldImage={"b": {"B": "AP8="}, "odd": {"X": "1"}},
        NewImage={"b": {"B": "AP8="}, "odd": {"N": "1"}},
    )
    rows = table(change).rows
    assert rows[:3] == [["", "old", "new"], ["id key", "'a'", "'a'"], ["b", "2 bytes: AP8=", "2 bytes: AP8="]]
    assert rows[3][1].endswith("(cannot be decoded)")
    assert rows[3][2] == "1"


def test_there_are_no_colours_of_its_own():
    for change in changes_of():
        assert not re.search(r"color|#[0-9a-f]{3}|rgb", change._repr_html_())


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from(["eventName", "dynamodb", "userIdentity"]), ANYTHING) | ANYTHING)
def test_nothing_raises_and_nothing_gets_out(record):
    Rows(rxd.Change(record, "<shard>")._repr_html_())  # which asserts that all that is open is closed
