"""Whatever a change has in it, each format prints it on each terminal, and nothing moves the cursor."""

from __future__ import annotations

import argparse
import io
import json
import sys
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxddbstream.cli.main import _have_outputs
from rxddbstream.cli.notes import note
from rxddbstream.cli.output import add_printing, printer_of
from rxddbstream.model.change import Change
from rxddbstream.model.encoding import encode
from rxddbstream.views.observers import print_change_record, print_json, print_summary
from rxddbstream.views.printing import put
from rxddbstream.views.template import Template

ENCODINGS = ["ascii", "cp1252", "utf-8", "latin-1", "shift_jis"]
NASTY = ["\x1b]0;owned\x07", "\x1b[2J", "\x9b2J", "\r\n", "\x7f", "\x00", "\u2028", "\ud83d", "😀", "é", "€"]
texts = st.text(st.characters()) | st.lists(st.sampled_from(NASTY)).map("".join)
numbers = st.sampled_from(["1", "-0.5", "1E-7", "1E125", "1E9999999", "-1E-9999999"])
values = st.recursive(
    texts.map(lambda text: {"S": text})
    | numbers.map(lambda number: {"N": number})
    | st.just({"B": b"\x1b"})
    | st.sets(texts, min_size=1).map(lambda several: {"SS": sorted(several)}),
    lambda inner: (
        st.dictionaries(texts, inner, max_size=2).map(lambda members: {"M": members})
        | st.lists(inner, max_size=2).map(lambda elements: {"L": elements})
    ),
    max_leaves=4,
)
items = st.dictionaries(texts, values, max_size=2)


@st.composite
def changes(draw: Any) -> Change:
    keys = draw(st.dictionaries(texts, texts.map(lambda text: {"S": text}) | numbers.map(lambda n: {"N": n})))
    detail = {
        "ApproximateCreationDateTime": 1.7e9,
        "Keys": keys,
        "OldImage": {**keys, **draw(items)},
        "NewImage": {**keys, **draw(items)},
        "SequenceNumber": "1" * 21 + draw(texts),
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    record = {"eventName": draw(texts), "eventID": draw(texts), "dynamodb": detail}
    return Change(record, draw(texts))


class Terminal:
    """Standard output of an encoding, and what was written there."""

    def __init__(self, encoding: str) -> None:
        self._bytes = io.BytesIO()
        self.file = io.TextIOWrapper(self._bytes, encoding, newline="")

    def written(self) -> str:
        return self._bytes.getvalue().decode(self.file.encoding)


def printed(encoding: str, write: Callable[[], object]) -> list[str]:
    terminal = Terminal(encoding)
    usual, sys.stdout = sys.stdout, terminal.file
    try:
        write()
    finally:
        sys.stdout = usual
    text = terminal.written()
    assert text.endswith("\n")
    lines = text[:-1].split("\n")
    for line in lines:
        assert not [one for one in line if unicodedata.category(one) in ("Cc", "Cs")], line
    return lines


def printer(*options: str) -> Callable[[Change], None]:
    parser = argparse.ArgumentParser()
    add_printing(parser)
    return printer_of(parser.parse_args([*options, "--color", "never"]))


TEMPLATE = "{keys}|{event_name}|{event_name!r}|{event_name:>9}|{event_id}|{new_image}|{shard_id}"
ON_A_LINE = (["-ps"], ["-pr"], ["-o", "json"], ["-o", "dynamodb-json"], ["-o", f"template={TEMPLATE}"])


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(change=changes())
def test_each_format_prints_each_change_on_each_terminal(encoding: str, change: Change) -> None:
    printers = [printer(*options) for options in ON_A_LINE]
    for print_change in (*printers, print_summary, print_change_record, print_json):
        assert len(printed(encoding, partial(print_change, change))) == 1
    printed(encoding, partial(printer("-o", "diff"), change))


@given(change=changes())
def test_a_number_that_is_none_of_dynamodbs_does_not_make_a_line_of_millions_of_digits(
    change: Change,
) -> None:
    for options in (["-ps"], ["-o", "diff"], ["-o", "template={keys} {new_image} {new_image:.2f}"]):
        assert len("".join(printed("utf-8", partial(printer(*options), change)))) < 100_000


@pytest.mark.parametrize("size", [27, 155, 0xD800, 5_000_000, 10**30, -1])
@pytest.mark.parametrize("spec", ["c", "5c", "<8c", "x", "d", ",", "e", "n", "s", ".2f", "%"])
def test_a_number_in_a_template_is_no_character(spec: str, size: int) -> None:
    change = Change({"eventName": "INSERT", "dynamodb": {"SizeBytes": size}}, "shard-1")
    line = Template(f"{{size_bytes:{spec}}}").line(change)

    assert line.isprintable()
    assert any(digit in line for digit in "0123456789")


def test_a_number_in_a_template_has_no_millions_of_digits() -> None:
    change = Change({"dynamodb": {"NewImage": {"n": {"N": "1E9999999"}}}}, "s")

    print_change = printer("-o", "template={new_image.n:.2f} {new_image.n}")
    assert printed("utf-8", lambda: print_change(change)) == ["1E+9999999 1E+9999999"]


@given(value=st.recursive(texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)))
@pytest.mark.parametrize("order", [None, "deterministic"])
def test_json_says_what_it_was_made_of_halves_of_characters_included(order: Any, value: Any) -> None:
    assert json.loads(encode(msgspec.json.Encoder(order=order), value)) == value


@given(change=changes())
def test_json_of_any_change_is_json(change: Change) -> None:
    print_change = printer("-o", "dynamodb-json")
    [line] = printed("utf-8", lambda: print_change(change))

    assert json.loads(line)["eventName"] == change.event_name


@pytest.mark.parametrize(
    ("encoding", "text"), [("cp1252", "id=\\U0001f600 é"), ("ascii", "id=\\U0001f600 \\xe9")]
)
def test_what_a_terminal_cannot_show_is_an_escape(encoding: str, text: str) -> None:
    assert printed(encoding, lambda: put("id=😀 é")) == [text]


def test_a_note_is_a_line_that_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    note("shard \x1b[2J\n was lost")

    assert capsys.readouterr().err == "shard \\x1b[2J\\n was lost\n"


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_the_command_line_takes_each_character_whoever_writes_it(
    errors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), "cp1252", errors))
    _have_outputs()

    for file in (sys.stdout, sys.stderr):
        print("😀 \ud83d", file=file, flush=True)
        assert file.buffer.getvalue() == b"\\U0001f600 \\ud83d\n"  # type: ignore[attr-defined]


def test_an_errors_handler_that_somebody_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii", "replace"))
    _have_outputs()

    assert sys.stdout.errors == "replace"
