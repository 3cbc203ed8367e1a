"""Which changes are printed, in which formats and colours; a process on a terminal and in a pipe."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import reactivex
from reactivex import Observable
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.testing import TestScheduler
from rich.console import Console
from rich.live import Live
from support.commandline import WHOLE, Table, Terminal, run
from support.waiting import PATIENCE

import rxddbstream as rxd
from rxddbstream.aws.parser import RecordJSON
from rxddbstream.cli import progress_bar
from rxddbstream.cli.arguments import parse
from rxddbstream.cli.filters import ENOUGH, chosen
from rxddbstream.cli.output import printer_of
from rxddbstream.cli.source import bounded
from rxddbstream.errors import ConfigurationError
from rxddbstream.reading.statistics import Statistics
from rxddbstream.testing import SimulatedStream
from rxddbstream.views.template import Template

MADE = datetime(2026, 1, 31, 12, 30, 15, 250_000, tzinfo=UTC)


def change(name: str = "MODIFY", **detail: Any) -> rxd.Change:
    detail = {
        "ApproximateCreationDateTime": MADE,
        "Keys": {"id": {"S": "o-1"}},
        "SequenceNumber": "100000000000000000001",
        "StreamViewType": "NEW_AND_OLD_IMAGES",
        **detail,
    }
    return rxd.Change({"eventName": name, "dynamodb": detail}, "shard-1")


def images(old: dict[str, Any] | None, new: dict[str, Any] | None) -> rxd.Change:
    """The record of an item's change, in DynamoDB's types but for the key."""
    names = {(False, True): "INSERT", (True, True): "MODIFY", (True, False): "REMOVE"}
    both = {"OldImage": old, "NewImage": new}
    detail = {name: {"id": {"S": "o-1"}, **image} for name, image in both.items() if image is not None}
    return change(names[old is not None, new is not None], **detail)


def printed(change: rxd.Change, *options: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    printer_of(parse(["orders", *options]))(change)
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What is printed of a change with these options."""
    return lambda change, *options: printed(change, *options, capsys=capsys)


# --- formats ------------------------------------------------------------------------------------


def test_diff_tells_what_changed_attribute_by_attribute(lines: Callable[..., list[str]]) -> None:
    old = {
        "status": {"S": "new"},
        "note": {"S": "in a hurry"},
        "same": {"N": "1"},
        "address": {"M": {"city": {"S": "Ulm"}, "zip": {"N": "1"}, "deep": {"M": {"x": {"L": []}}}}},
    }
    new = {
        "status": {"S": "paid"},
        "total": {"N": "1.50"},
        "same": {"N": "1.0"},
        "address": {
            "M": {
                "city": {"S": "Bonn"},
                "street": {"S": "a\nb"},
                "deep": {"M": {"x": {"L": [{"BOOL": True}]}}},
            }
        },
    }
    assert lines(images(old, new), "-o", "diff")[1:] == [
        '  ~ address.city: "Ulm" -> "Bonn"',
        "  ~ address.deep.x: [] -> [true]",
        '  + address.street: "a\\nb"',
        "  - address.zip: 1",
        '  ~ status: "new" -> "paid"',
        "  + total: 1.50",
        '  - note: "in a hurry"',
    ]


def test_diff_of_an_inserted_and_a_removed_item_is_all_but_its_key(lines: Callable[..., list[str]]) -> None:
    item = {"n": {"N": "1"}, "s": {"NULL": True}}
    assert lines(images(None, item), "-o", "diff")[1:] == ["  + n: 1", "  + s: null"]
    assert lines(images(item, None), "-o", "diff")[1:] == ["  - n: 1", "  - s: null"]
    [head] = lines(images({}, {}), "-o", "diff")
    assert head.endswith(" - MODIFY - id=o-1")


def test_diff_says_what_it_needs(lines: Callable[..., list[str]]) -> None:
    with pytest.raises(ConfigurationError, match="NEW_AND_OLD_IMAGES"):
        lines(change(StreamViewType="KEYS_ONLY"), "-o", "diff")


def test_dynamodb_json_is_the_record_with_its_types(lines: Callable[..., list[str]]) -> None:
    detail = {
        "Keys": {"id": {"B": b"\x00\xff"}},
        "NewImage": {"n": {"NS": ["1", "2.50"]}, "b": {"BS": [b"a"]}},
    }
    [line] = lines(change(**detail), "-o", "dynamodb-json")
    record = json.loads(line)
    assert record["eventName"] == "MODIFY"
    assert record["dynamodb"]["Keys"] == {"id": {"B": "AP8="}}
    assert record["dynamodb"]["NewImage"] == {"n": {"NS": ["1", "2.50"]}, "b": {"BS": ["YQ=="]}}
    assert record["dynamodb"]["ApproximateCreationDateTime"] == MADE.timestamp()


def test_dynamodb_json_of_a_stand_in_without_zones(lines: Callable[..., list[str]]) -> None:
    [line] = lines(change(ApproximateCreationDateTime=MADE.replace(tzinfo=None)), "-o", "dynamodb-json")
    assert json.loads(line)["dynamodb"]["ApproximateCreationDateTime"] == MADE.timestamp()
    [line] = lines(rxd.Change({"eventName": "INSERT"}, "shard-1"), "-o", "dynamodb-json")
    assert line == '{"eventName":"INSERT"}'


def test_dynamodb_json_is_one_line_however_the_service_breaks_it(lines: Callable[..., list[str]]) -> None:
    text = b'{"eventName": "INSERT", "dynamodb": {"Keys": {\r\n  "id":\n{"S": "a\\nb"}}}}'
    [line] = lines(rxd.Change(msgspec.json.decode(text, type=RecordJSON), "shard-1"), "-o", "dynamodb-json")
    assert json.loads(line) == json.loads(text)


ITEM = {
    "status": {"S": "new"},
    "total": {"N": "2.50"},
    "big": {"N": "100000000000000000000000000000000000001"},
    "small": {"N": "0.0000001"},
    "yes": {"BOOL": True},
    "none": {"NULL": True},
    "blob": {"B": b"\x00\xff"},
    "lines": {"L": [{"M": {"qty": {"N": "2"}}}]},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{keys} {event_name}", "id=o-1 INSERT"),
        ("{event_name:>8}|{event_name:<8}|", "  INSERT|INSERT  |"),
        ("{new_image.status}/{old_image.status}", "new/"),
        ("{new_image.nothing.at.all}{new_image.status.x}", ""),
        ("{new_image.total} {new_image.total:.1f} {new_image.total:08.2f}", "2.50 2.5 00002.50"),
        ("{new_image.small:>12}|{new_image.small:.0e}", "   0.0000001|1e-7"),
        ("{new_image.big} {new_image.small}", "100000000000000000000000000000000000001 0.0000001"),
        ("{new_image.yes} {new_image.none}|{new_image.blob}", "true |AP8="),
        ("{new_image.lines[0].qty} {new_image.lines}", '2 [{"qty":2}]'),
        ("{is_ttl_delete:>6}|{new_image.yes:<5}|", " false|true |"),
        ("{new_image.nothing!r}{old_image!s}|{new_image.none!r}", "|"),
        ("{keys.id}: {shard_id} {sequence_number}", "o-1: shard-1 100000000000000000001"),
        ("{new_image.status:.2f}{old_image.total:.2f}", "new"),
        ("{view_type} {size_bytes} {event_id} {is_ttl_delete}", "NEW_AND_OLD_IMAGES   false"),
        ("{{}} \\t|", "{} \t|"),
        ("no field", "no field"),
    ],
)
def test_templates(template: str, text: str) -> None:
    assert Template(template).line(change("INSERT", NewImage=ITEM)) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{new_image[net.weight]}", "7"),
        ("{new_image[net.weight]:>4.1f}|", " 7.0|"),
        ('{new_image["net.weight"]}', "7"),
        ("{new_image['net.weight']}", "7"),
        ("{new_image[a:b!]}", "colon"),
        ("{new_image.lines[0][a.b].c}", "deep"),
        ("{new_image[lines][0][a.b][c]}", "deep"),
        ("{keys[id]} {keys.id}", "o-1 o-1"),
        ("{new_image[nothing.here]}", ""),
    ],
)
def test_a_name_with_a_dot_stands_in_brackets(template: str, text: str) -> None:
    inner = {"M": {"a.b": {"M": {"c": {"S": "deep"}}}}}
    new = {"net.weight": {"N": "7"}, "a:b!": {"S": "colon"}, "lines": {"L": [inner]}}

    assert Template(template).line(change(NewImage=new)) == text


def test_times_in_a_template_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XYZ-2")
        time.tzset()
        line = Template("{created_at} {created_at:%H:%M:%S.%f}").line(change("INSERT"))
    time.tzset()
    assert line == "2026-01-31T14:30:15+02:00 14:30:15.250000"


def test_an_image_in_a_template_is_json() -> None:
    assert Template("{new_image}").line(change("INSERT", NewImage={"n": {"N": "1"}})) == '{"n":1}'


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{", "Single '{' encountered"),
        ("{}", "a change has no ''; it has created_at, "),
        ("{status}", "a change has no 'status'"),
        ("{0}", "a change has no '0'"),
        ("{event_name.upper}", "there is nothing inside of 'event_name'"),
        ("{new_image.a..b}", "not a path to an attribute: 'a..b'"),
        ("{new_image.a[}", "expected '}' before end of string"),
        ("{keys:{event_name}}", "a field inside of a field's format"),
        ("{created_at!x}", "no conversion 'x'"),
    ],
)
def test_what_is_no_template(template: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Template(template)
    assert words in str(error.value)


def test_conversions_in_a_template() -> None:
    assert Template("{event_name!r}").line(change("INSERT")) == "'INSERT'"


def test_what_would_move_a_terminals_cursor_is_spelled_out(lines: Callable[..., list[str]]) -> None:
    evil = change(Keys={"id": {"S": "\x1b[2Ja\nb"}}, NewImage={"s": {"S": "\x1b]0;x\x07"}})
    for options in (["-ps"], ["-o", "template={keys}"]):
        [line] = lines(evil, *options)
        assert line.endswith("id=\\x1b[2Ja\\nb")
    assert lines(evil, "-o", "template={new_image.s}") == ["\\x1b]0;x\\x07"]


def test_nor_does_a_terminals_cursor_move_by_attributes_names_and_what_is_in_them(
    lines: Callable[..., list[str]],
) -> None:
    evil = "\x9b2J\x1b]0;\u202e\n"
    item: dict[str, Any] = {evil: {"S": evil}, "map": {"M": {evil: {"S": evil}}}}
    both = images({**item, "map": {"M": {}}}, {"map": item["map"]})
    options = ("-o", "diff", "-o", "template={new_image.map}", "-o", "record")
    assert all(line.isprintable() for line in lines(both, *options))
    assert len(lines(both, "-o", "diff")) == 3
    for options in (("-o", "json"), ("-o", "dynamodb-json"), ("--query", "new_image")):
        [line] = lines(both, *options)  # JSON may have other signs in it, which move nothing
        assert not set(line) & {chr(code) for code in (*range(32), *range(0x80, 0xA0))}
        assert evil in str(json.loads(line)) or repr(evil)[1:-1] in str(json.loads(line))


def test_formats_in_one_order_templates_last(lines: Callable[..., list[str]]) -> None:
    item = images(None, {})
    record, head, as_json, typed, diff, one, two = lines(
        item,
        *("-o", "template=one", "-o", "diff", "-o", "dynamodb-json", "-o", "json"),
        *("-ps", "-pr", "-o", "template=two", "-ps"),
    )
    assert record == str(item.record)
    assert head == diff
    assert [json.loads(text).keys() & {"keys", "dynamodb"} for text in (as_json, typed)] == [
        {"keys"},
        {"dynamodb"},
    ]
    assert (one, two) == ("one", "two")


# --- queries ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "query", "found"),
    [
        ([], "new_image.{s: status, t: total}", '{"s":"new","t":2.5}'),
        (["-o", "json"], "keys.id", '"o-1"'),
        ([], "old_image.status", "null"),
        ([], "new_image.big", "100000000000000000000000000000000000001"),
        ([], "new_image.[total, small] | sum(@)", "2.5000001"),
        ([], "new_image.lines[].qty", "[2]"),
        (["-o", "dynamodb-json"], "dynamodb.NewImage.total", '{"N":"2.50"}'),
    ],
)
def test_queries(options: list[str], query: str, found: str, lines: Callable[..., list[str]]) -> None:
    assert lines(change("INSERT", NewImage=ITEM), *options, "--query", query) == [found]


def test_a_number_that_a_float_would_cut_keeps_its_digits(lines: Callable[..., list[str]]) -> None:
    long = "1.23456789012345678901234567890123456789"
    item = {"long": {"N": long}}
    assert lines(change(NewImage=item), "--query", "new_image.long") == [long]


@pytest.mark.parametrize(
    "options",
    [["--query", "a["], ["--query", "a", "-ps"], ["--query", "a", "-o", "json", "-o", "dynamodb-json"]],
)
def test_what_is_no_query(options: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="--query"):
        printer_of(parse(["orders", *options]))


def test_a_query_that_fits_no_change(lines: Callable[..., list[str]]) -> None:
    with pytest.raises(ConfigurationError, match=r"--query: abs\(\) takes number, not string") as raised:
        lines(change(NewImage={"a": {"S": "secret"}}), "--query", "abs(new_image.a)")
    assert "secret" not in str(raised.value)


ODD_QUERIES = [
    "contains(new_image.a, `5`)",
    "contains(new_image.a, `null`)",
    "sum(new_image.l)",
    "max(new_image.l)",
    "sort(new_image.l)",
    "join(', ', new_image.l)",
    "avg(new_image.l)",
    "&new_image.a",
    "sort_by(new_image.l, &a)",
    "to_number(new_image.a)",
    "abs(new_image.long)",
    "ceil(new_image.long)",
    "new_image.l[::0]",
]


@pytest.mark.parametrize("query", ODD_QUERIES)
def test_a_query_that_cannot_work_with_a_value_tells_none(
    query: str, lines: Callable[..., list[str]]
) -> None:
    item = {
        "a": {"S": "secret"},
        "l": {"L": [{"S": "secret"}, {"N": "1.23456789012345678901"}]},
        "long": {"N": "9" * 38},
    }
    try:
        lines(change(NewImage=item), "--query", query)
    except ConfigurationError as error:
        told = str(error)
    else:
        told = "--query"
    assert told.startswith("--query")
    assert "secret" not in told


# --- choosing -----------------------------------------------------------------------------------


def chosen_of(changes: list[rxd.Change], *options: str) -> list[int]:
    seen: list[rxd.Change] = []
    rxd.run(chosen(reactivex.of(*changes), parse(["orders", *options])), seen.append)
    return [changes.index(change) for change in seen]


def test_events() -> None:
    changes = [change("INSERT"), change("MODIFY"), change("REMOVE")]
    assert chosen_of(changes) == [0, 1, 2]
    assert chosen_of(changes, "--event", "INSERT,REMOVE") == [0, 2]
    assert chosen_of(changes, "--event", "remove", "--event", "Modify") == [1, 2]


def test_keys() -> None:
    def keyed(*keys: dict[str, Any]) -> list[rxd.Change]:
        return [change(Keys=key) for key in keys]

    two = keyed(
        {"PK": {"S": "user#1"}, "SK": {"N": "1"}},
        {"PK": {"S": "user#1"}, "SK": {"N": "2"}},
        {"PK": {"S": "a=b"}, "SK": {"N": "2"}},
    )
    assert chosen_of(two, "--key", "PK=user#1") == [0, 1]
    assert chosen_of(two, "--key", "PK=user#1", "--key", "SK=2.0") == [1]
    assert chosen_of(two, "--key", "PK=a=b") == [2]
    assert chosen_of(two, "--key", "SK=2", "--key", "SK=2") == [1, 2]
    assert chosen_of(keyed({"id": {"B": b"\x00\xff"}}), "--key", "id=AP8=") == [0]
    with pytest.raises(ConfigurationError, match="--key id=1: the table's key is PK and SK"):
        chosen_of(two, "--key", "id=1")


@pytest.mark.parametrize(
    ("value", "text", "words"),
    [
        ({"N": "1"}, "o-1", "the table's key id is a number"),
        ({"N": "1"}, "nan", "the table's key id is a number"),
        ({"N": "1"}, "Infinity", "the table's key id is a number"),
        ({"N": "1"}, "", "the table's key id is a number"),
        ({"B": b"\x00\xff"}, "not base64!", "the table's key id is binary: write it in Base64"),
        ({"B": b"\x00\xff"}, "AP8", "the table's key id is binary: write it in Base64"),
        ({"B": b"\x00\xff"}, "ÄÖ==", "the table's key id is binary: write it in Base64"),
    ],
)
def test_a_key_of_another_type_is_told_with_the_first_change(
    value: dict[str, Any], text: str, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"--key id={text}: {words}")):
        chosen_of([change("INSERT", Keys={"id": value})], "--key", f"id={text}", "--event", "REMOVE")


def test_two_values_for_a_key_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="--key id=2: no item has id=1 as well"):
        chosen_of([], "--key", "id=1", "--key", "id=2")


def test_a_key_of_another_name_is_told_with_the_first_change_whatever_it_did() -> None:
    with pytest.raises(ConfigurationError, match="--key idd=1: the table's key is id"):
        chosen_of([change("INSERT")], "--key", "idd=1", "--event", "REMOVE")


@pytest.mark.system
def test_a_key_of_another_name_is_told_before_there_is_a_change(own_table: Table) -> None:
    status, out, err = run(*on(own_table, "--key", "pk=test"))

    assert (status, out) == (2, [])
    assert err == "rxddbstream: error: --key pk=test: the table's key is PK and SK\n"


def test_what_a_pattern_asks_for_and_none_has_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    pattern = {
        "eventName": ["INSERT"],
        "dynamodb": {"NewImage": {"statuss": {"S": ["paid"]}, "status": {"S": ["paid"]}}},
        "userIdentity": {"type": [{"exists": False}]},
    }
    changes = [change("INSERT", NewImage={"status": {"S": "paid"}}) for _ in range(50)]

    assert chosen_of(changes[: ENOUGH - 1], "--pattern", json.dumps(pattern)) == []
    assert capsys.readouterr().err == ""
    assert chosen_of(changes, "--pattern", json.dumps(pattern)) == []
    words = "none of the first 10 changes has dynamodb.NewImage.statuss.S, which --pattern asks for"
    assert capsys.readouterr().err == f"rxddbstream: {words}\n"


def test_a_pattern_whose_members_are_there_is_no_reason_to_say_anything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pattern = {"dynamodb": {"NewImage": {"status": {"S": ["paid"]}}}}
    changes = [change("REMOVE")] * (ENOUGH - 1)
    changes += [change("INSERT", NewImage={"status": {"S": "new"}})] * 20

    assert chosen_of(changes, "--pattern", json.dumps(pattern), "--event", "INSERT") == []
    assert capsys.readouterr().err == ""


def test_patterns() -> None:
    changes = [change("INSERT"), change("REMOVE", Keys={"id": {"S": "c-1"}})]
    pattern = {"dynamodb": {"Keys": {"id": {"S": [{"prefix": "c-"}]}}}}
    assert chosen_of(changes, "--pattern", json.dumps(pattern)) == [1]
    assert chosen_of(changes, "--pattern", json.dumps(pattern), "--event", "INSERT") == []
    for pattern_text, words in (
        ("{", "--pattern is not JSON"),
        ('{"a": 1}', "the filter pattern cannot work"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            chosen_of(changes, "--pattern", pattern_text)


@pytest.mark.parametrize("pattern_text", ["[" * 5000, '{"a":' * 5000, '{"a":' * 900 + "1" + "}" * 900])
def test_a_pattern_that_is_nested_too_deep_is_wrong_usage(pattern_text: str) -> None:
    with pytest.raises(ConfigurationError):
        chosen_of([], "--pattern", pattern_text)


@pytest.mark.parametrize(
    "options",
    [
        ["--event", "UPSERT"],
        ["--event", ""],
        ["--key", "id"],
        ["--key", "=1"],
        ["--for", "soon"],
        ["--for", "0s"],
        ["--for", "99999999999d"],
        ["-o", "yaml"],
        ["--color", "sometimes"],
    ],
)
def test_wrong_usage(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(["orders", *options])
    assert exit_.value.code == 2
    assert "error: argument" in capsys.readouterr().err


# --- in a process -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(endpoint: str) -> Table:
    """Three changes of one item; for reading alone."""
    table = Table(endpoint)
    table.put(n={"N": "1"})
    table.put(n={"N": "2"})
    table.delete()
    return table


def on(table: Table, *options: str) -> list[str]:
    return [table.name, *options, "--endpoint-url", table.endpoint]


@pytest.mark.system
@pytest.mark.parametrize("option", ["--start", "--since"])
@pytest.mark.parametrize("end", ["--until-end", "--no-follow"])
def test_both_names_of_an_option(option: str, end: str, table: Table) -> None:
    status, out, _ = run(*on(table, option, "trim-horizon", end, "--event", "REMOVE", "-ps"))
    assert status == 0
    [line] = out
    assert line.endswith(" - REMOVE - PK=test, SK=item")


@pytest.mark.system
def test_a_stream_by_its_arn_and_by_its_tables(table: Table) -> None:
    for stream in (table.arn, table.arn.partition("/stream/")[0]):
        status, out, _ = run(stream, *WHOLE, "-n", "1", "-ps", "--endpoint-url", table.endpoint)
        assert (status, len(out)) == (0, 1)


@pytest.mark.system
def test_ends_after_a_time(own_table: Table) -> None:
    own_table.put(n={"N": "1"})
    status, out, _ = run(*on(own_table, "--since", "trim-horizon", "--for", "1.5s", "-o", "diff"))
    assert status == 0
    assert out[1:] == ["  + n: 1"]


def test_in_virtual_time_it_ends_after_a_time() -> None:
    scheduler = TestScheduler()
    sim = SimulatedStream(scheduler=scheduler)
    seen: list[rxd.Change] = []
    ended: list[float] = []
    source = bounded(rxd.changes("orders", client=sim.client), parse(["orders", "--for", "1m30s"]))
    source.subscribe(seen.append, on_completed=lambda: ended.append(scheduler.clock), scheduler=scheduler)
    scheduler.advance_to(60)
    sim.put("a")
    scheduler.advance_to(89)
    assert (len(seen), ended) == (1, [])
    sim.put("b")
    scheduler.advance_to(200)
    assert ended == [90.0]


def test_what_comes_while_time_is_up_is_not_done(tmp_path: Path) -> None:
    sim = SimulatedStream()
    written = [str(sim.put(f"o-{number}")["dynamodb"]["SequenceNumber"]) for number in range(500)]

    def read(*options: str, slowly: bool) -> list[str]:
        checkpoints = rxd.SqliteCheckpoints(tmp_path / "position")
        changes = rxd.changes(
            sim.arn, client=sim.client, start="trim_horizon", follow=False, checkpoints=checkpoints
        )
        seen: list[str] = []

        def observe(change: rxd.Change) -> None:
            time.sleep(0.005 if slowly else 0)
            seen.append(change.sequence_number)

        rxd.run(bounded(changes.pipe(slow_to_dispose), parse(["orders", *options])), observe)
        return seen

    def slow_to_dispose(source: Observable[rxd.Change]) -> Observable[rxd.Change]:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            pause = Disposable(lambda: time.sleep(0.3))
            return CompositeDisposable(pause, source.subscribe(observer, scheduler=scheduler))

        return Observable(subscribe)

    first = read("--for", "0.2s", slowly=True)
    assert 0 < len(first) < 500
    assert set(first + read(slowly=False)) == set(written)


@pytest.mark.system
def test_silence_is_explained_by_what_was_asked_for(table: Table) -> None:
    status, out, err = run(*on(table, *WHOLE, "--key", "SK=another"))
    assert (status, out) == (0, [])
    assert err.endswith("none of the 3 changes that were read is one of those asked for\n")


@pytest.mark.system
def test_silence_is_explained_when_the_time_is_over(table: Table) -> None:
    options = ("--start", "trim-horizon", "--for", "2s", "--key", "SK=another")
    status, out, err = run(*on(table, *options))
    assert (status, out) == (0, [])
    assert err.endswith("none of the 3 changes that were read is one of those asked for\n")


@pytest.mark.system
def test_a_mistake_that_shows_with_the_first_change_is_one_of_usage(table: Table) -> None:
    status, out, err = run(*on(table, *WHOLE, "--key", "pk=test"))
    assert (status, out) == (2, [])
    assert err.endswith("error: --key pk=test: the table's key is PK and SK\n")


@pytest.mark.system
def test_in_a_pipe_there_is_no_colour_unless_it_is_asked_for(table: Table) -> None:
    options = on(table, *WHOLE, "-ps")
    for settings in ({}, {"FORCE_COLOR": "1"}):
        assert "\x1b" not in "".join(run(*options, **settings)[1])
    coloured = run(*options, "--color", "always")[1]
    green, yellow, red = coloured
    assert "\x1b[32mINSERT\x1b[0m" in green
    assert "\x1b[33mMODIFY\x1b[0m" in yellow
    assert "\x1b[31mREMOVE\x1b[0m" in red
    assert run(*options, "--color", "always", NO_COLOR="1")[1] == coloured


@pytest.mark.system
def test_on_a_terminal_lines_are_coloured_by_event_and_not_broken(table: Table) -> None:
    for options, first in (
        (["-o", "json"], '\x1b[32m{"event_name":"INSERT"'),
        (["-o", "diff"], "\x1b[33m  ~ n: 1 -> 2\x1b[0m"),
        (["-ps"], "\x1b[32mINSERT\x1b[0m - PK=test, SK=item"),
    ):
        with Terminal(*on(table, "--since", "trim-horizon", "-n", "3", *options), columns=40) as terminal:
            assert terminal.wait() == 0
        assert first in terminal.screen
        assert len(terminal.text.splitlines()) == (7 if "diff" in options else 4)


@pytest.mark.system
@pytest.mark.parametrize(
    ("options", "settings"),
    [(["--color", "never"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})],
)
def test_a_terminal_without_colours(options: list[str], settings: dict[str, str], table: Table) -> None:
    with Terminal(*on(table, "--since", "trim-horizon", "-n", "3", *options), **settings) as terminal:
        assert terminal.wait() == 0
    assert "\x1b" not in terminal.screen
    assert "INSERT" in terminal.screen


WITHOUT_RICH = """if True:
    import sys
    sys.modules["rich"] = None
    from rxddbstream.cli.main import main
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.system
def test_without_rich_there_are_no_colours_and_it_is_said_to_who_wants_them(table: Table) -> None:
    def ended(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT_RICH, *on(table, *WHOLE, "-ps", *options)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    assert ended().returncode == 0
    assert ended("--color", "always").returncode == 2
    assert 'pip install "rxddbstream[cli]"' in ended("--color", "always").stderr


@pytest.mark.system
def test_ctrl_c_on_a_terminal(own_table: Table) -> None:
    own_table.put(n={"N": "1"})
    with Terminal(*on(own_table, "--since", "trim-horizon", "-ps")) as terminal:
        terminal.wait_for("INSERT")
        assert terminal.end() == 130
    assert "Traceback" not in terminal.screen


@pytest.mark.system
def test_head_ends_it_quietly(own_table: Table) -> None:
    for number in range(200):
        own_table.put(n={"N": str(number)}, text={"S": "x" * 2_000})
    command = f"{sys.executable} -m rxddbstream {' '.join(on(own_table, *WHOLE))} | head -1"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.stdout.count("\n") == 1
    assert ended.returncode == 0
    assert ended.stderr == f"Starting watcher for shard: {own_table.shard_id()}\n"


@pytest.mark.system
@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_jq_reads_it(table: Table) -> None:
    command = f"{sys.executable} -m rxddbstream {' '.join(on(table, *WHOLE))} -o json | jq -c .new_image.n"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE)
    assert ended.stdout.split() == ["1", "2", "null"]


# --- the bar of a backlog -----------------------------------------------------------------------


def test_how_far_a_backlog_has_been_read() -> None:
    end = MADE + timedelta(seconds=100)
    reading = progress_bar.Backlog(end)
    assert reading.estimate(Statistics(), 0.0) == (None, 0, 0.0, None)
    assert reading.estimate(Statistics(records=5), 1.0) == (None, 5, 5.0, None)
    assert reading.estimate(Statistics(records=10, watermark=MADE), 2.0) == (0.0, 10, 5.0, None)
    quarter = Statistics(records=100, watermark=MADE + timedelta(seconds=25))
    assert reading.estimate(quarter, 10.0) == (0.25, 100, 10.0, timedelta(seconds=30))
    beyond = Statistics(records=400, watermark=end + timedelta(seconds=1))
    assert reading.estimate(beyond, 40.0) == (1.0, 400, 10.0, timedelta(0))


def test_a_backlog_of_no_time_at_all() -> None:
    assert progress_bar.Backlog(MADE).estimate(Statistics(watermark=MADE), 0.0).part == 1.0


@pytest.mark.system
def test_the_bar_goes_to_the_terminal_and_the_data_to_the_file(table: Table, tmp_path: Path) -> None:
    file = tmp_path / "changes"
    with (
        file.open("w") as out,
        Terminal(*on(table, *WHOLE, "-ps"), stdout=out) as terminal,
    ):
        assert terminal.wait() == 0
    assert len(file.read_text().splitlines()) == 3
    assert "\x1b" not in file.read_text()
    assert "3 changes" in terminal.text
    assert "INSERT" not in terminal.text
    assert terminal.has_its_cursor


@pytest.mark.system
def test_the_bar_stands_below_what_is_printed_and_goes(table: Table) -> None:
    with Terminal(*on(table, *WHOLE, "-o", "json"), columns=60) as terminal:
        assert terminal.wait() == 0
    assert "3 changes" in terminal.text
    assert terminal.text.count('"shard_id"') == 3
    assert terminal.screen.endswith("\x1b[2K")


@pytest.mark.system
def test_ctrl_c_while_the_bar_is_shown_gives_the_cursor_back(endpoint: str) -> None:
    nobody = ["orders", *WHOLE, "--endpoint-url", "http://127.0.0.1:1"]
    with Terminal(*nobody) as terminal:
        terminal.wait_for("Ctrl-C ends it")
        assert terminal.end() == 130
    assert terminal.has_its_cursor
    assert "Traceback" not in terminal.screen


@pytest.mark.parametrize("moment", ["_enable_redirect_io", "_disable_redirect_io"])
def test_ctrl_c_while_the_bar_is_begun_or_ended_gives_the_cursor_back(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Live) -> None:
        raise KeyboardInterrupt

    terminal = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(progress_bar, "_terminal", lambda: terminal)
    monkeypatch.setattr(Live, moment, interrupt)
    stream = rxd.changes("orders", client=SimulatedStream().client)
    with (
        pytest.raises(KeyboardInterrupt),
        progress_bar.shown(stream, parse(["orders", "--until-end"])),
    ):
        pass
    assert isinstance(terminal.file, io.StringIO)
    screen = terminal.file.getvalue()
    assert screen.rfind("\x1b[?25h") > screen.rfind("\x1b[?25l") > -1


@pytest.mark.system
def test_no_bar_where_nobody_looks(table: Table) -> None:
    _, _, err = run(*on(table, *WHOLE))
    assert "\x1b" not in err


# --- what a script relies on --------------------------------------------------------------------


@pytest.mark.system
def test_a_service_that_was_never_reached_is_a_failure_when_the_time_is_over() -> None:
    status, out, err = run("orders", "-ps", "--for", "1s", "--endpoint-url", "http://127.0.0.1:1")
    assert (status, out) == (1, [])
    assert "retrying" in err


@pytest.mark.system
@pytest.mark.parametrize(("closed", "status"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0)])
def test_a_descriptor_that_is_closed_is_nobody_who_reads(closed: str, status: int, table: Table) -> None:
    for command in ([*on(table, *WHOLE), "-ps"], ["shards", *on(table)], ["top", *on(table, *WHOLE)]):
        line = f"{sys.executable} -m rxddbstream {' '.join(command)} {closed}"
        ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE)
        assert ended.returncode == status
        assert "Error" not in ended.stdout + ended.stderr


@pytest.mark.system
def test_the_demo_gives_a_program_its_format_alone() -> None:
    status, out, err = run("demo", "-n", "3", "--rate", "50", "-o", "json")
    assert status == 0
    assert [json.loads(line)["event_name"] for line in out] == ["INSERT", "INSERT", "MODIFY"]
    assert err.endswith("3 changes: 2 INSERT, 1 MODIFY, 0 REMOVE\n")


@pytest.mark.system
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_key_that_a_terminal_cannot_show_does_not_end_it(
    encoding: str, own_table: Table, tmp_path: Path
) -> None:
    own_table.client.put_item(TableName=own_table.name, Item={"PK": {"S": "😀"}, "SK": {"S": "1"}})
    own_table.client.put_item(TableName=own_table.name, Item={"PK": {"S": "tea"}, "SK": {"S": "2"}})
    formats = ("-ps", "-pr", "-o", "json", "-o", "diff", "-o", "template={keys}")
    options = (*formats, *WHOLE, "--checkpoint", str(tmp_path / "position"))
    status, out, err = run(*on(own_table, *options), PYTHONIOENCODING=encoding)

    assert (status, err.count("error")) == (0, 0)
    assert len([line for line in out if "tea" in line]) >= 5
    assert len([line for line in out if "\\U0001f600" in line]) >= 5
