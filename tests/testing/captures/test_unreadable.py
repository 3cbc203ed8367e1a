"""Files that are no captures, or broken."""

from __future__ import annotations

import gzip
import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captures import AsJSON, Seen, clock, replayed

import rxddbstream as rxd
from rxddbstream.errors import CaptureUnreadable, DecodeError
from rxddbstream.testing import SimulatedStream, capture, replay
from rxddbstream.testing.captures import format
from rxddbstream.testing.captures.format import LONGEST_LINE, load


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_file_that_was_cut_is_replayed_up_to_there(
    is_packed: bool, whole: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = gzip.compress(whole.read_bytes()) if is_packed else whole.read_bytes()
    changes = replayed(whole).items
    assert caplog.messages == []
    longest = 0
    for size in range(len(data) // 5, len(data), len(data) // 7):
        caplog.clear()
        file.write_bytes(data[:size])
        seen = replayed(file)
        assert seen.items == changes[: len(seen.items)]
        assert seen.end == "completed"
        longest = max(longest, len(seen.items))
        assert caplog.messages == [f"{file} was cut: it has no end; what there is of it can be replayed"]
    assert longest > 10


def test_a_process_that_was_killed_leaves_what_it_had_delivered(tmp_path: Path) -> None:
    # As if it had been killed while the stream goes on: the file is read meanwhile.
    for name in ("a.jsonl", "a.jsonl.gz"):
        scheduler = clock()
        sim = SimulatedStream(scheduler=scheduler)
        live = Seen(capture(rxd.shards(sim.arn, client=sim.client), tmp_path / name), scheduler)
        for number in range(5):
            sim.put(f"o-{number}")
            scheduler.advance_by(10)
            assert replayed(tmp_path / name).items == live.items
        assert len(live.items) == 5
        live.subscription.dispose()


def test_an_end_without_a_line_break_is_an_end(whole: Path, file: Path) -> None:
    file.write_bytes(whole.read_bytes().rstrip(b"\n"))
    assert not load(file).is_cut


HEAD = (
    '{"type":"capture","version":1,"stream":"arn:aws:dynamodb:eu-central-1:1:table/a/stream/b","time":1.5}\n'
)
SHARD = '{"type":"shard","time":1.5,"id":"shard-1"}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("\n", "it is empty"),
        ("dear diary\n", "line 1: this is no capture"),
        ('{"type":"page"}\n', "line 1: this is no capture"),
        ("[1]\n", "line 1: this is no capture"),
        ('{"type":"capture","version":2,"x":1}\n', "line 1: a capture of version 2; .* use a newer one"),
        ('{"type":"capture","version":1}\n', "line 1: not a line of a capture: .*stream"),
        (f"{HEAD}{SHARD}{{nonsense}}\n{SHARD}", "line 3: not a line of a capture"),
        (f'{HEAD}{SHARD}{{"type":"pause","time":1}}\n', "line 3: not a line of a capture: .*pause"),
        (f'{HEAD}{SHARD}{{"type":"page","time":"x","shard":"shard-1","records":[]}}\n', "line 3: .*float"),
        (f"{HEAD}{SHARD}{SHARD}", "line 3: shard shard-1 begins a second time"),
        (f'{HEAD}{{"type":"closed","time":1,"shard":"s"}}\n', "line 2: no line before tells of shard s"),
        (HEAD + SHARD.replace("}", ',"parent":"shard-1"}'), "line 2: shard shard-1 continues itself"),
        (
            HEAD
            + SHARD.replace("}", ',"parent":"b"}')
            + '{"type":"shard","time":1.5,"id":"b","parent":"shard-1"}\n',
            "line 3: shard b continues itself",
        ),
        (f'{HEAD}{SHARD}{{"type":"end","time":1e300}}\n', "line 3: 1e\\+300 is no time"),
        (HEAD.replace("1.5", "-1"), "line 1: -1.0 is no time"),
        (
            f'{HEAD}{SHARD}{{"type":"page","time":2,"shard":"shard-1","records":[{{"eventName":"INSERT"}}]}}\n',
            "line 3: its last record has no sequence number",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, words: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(CaptureUnreadable, match=rf"orders\.jsonl(, |: ){words}"):
        replay(file)


def test_a_byte_that_was_broken_is_told_with_its_line(whole: Path, file: Path) -> None:
    lines = whole.read_bytes().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if b'"type":"page"' in line)
    image = lines[number].index(b'"S":"') + 5
    lines[number] = lines[number][:image] + b"\xff" + lines[number][image + 1 :]
    file.write_bytes(b"".join(lines))

    with pytest.raises(CaptureUnreadable, match=rf"line {number + 1}: .* its byte {image + 1} is no UTF-8"):
        load(file)


class Broken(AsJSON):
    """A byte of each image was broken on its way."""

    def get_records(self, **arguments: Any) -> Any:
        answer = super().get_records(**arguments)
        for record in answer["Records"]:
            record.detail.new_image = msgspec.Raw(bytes(record.detail.new_image).replace(b"new", b"n\xffw"))
        return answer


def test_what_could_not_be_replayed_is_not_captured(file: Path) -> None:
    scheduler = clock()
    sim = SimulatedStream(scheduler=scheduler)
    live = Seen(capture(rxd.shards(sim.arn, client=Broken(sim.client)), file), scheduler)
    sim.put("o-1", status="new")
    scheduler.advance_by(10)

    assert isinstance(live.end, DecodeError)
    assert re.fullmatch(r"a record of shard \S+ has a text that is no UTF-8; .*", str(live.end))
    assert live.items == replayed(file).items == []


# A file from elsewhere: a few bytes of it may stand for any number


def packed(file: Path, *texts: bytes) -> Path:
    with gzip.open(file, "wb") as gz:
        for text in (HEAD.encode(), SHARD.encode(), *texts):
            gz.write(text)
    return file


def test_a_line_that_goes_on_for_ever_is_refused_before_it_is_in_memory(tmp_path: Path) -> None:
    file = packed(tmp_path / "a.gz", b'{"type":"end","time":1', *[b"0" * 1_000_000] * 150)

    tracemalloc.start()
    try:
        with pytest.raises(CaptureUnreadable, match="line 3: it is longer than 32 MiB; no page is"):
            load(file)
        assert tracemalloc.get_traced_memory()[1] < 3 * LONGEST_LINE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"closed","time":2,"shard":"shard-1"}\n',
        b'{"type":"page","time":2,"shard":"shard-1","records":[%s{"dynamodb":{"SequenceNumber":"1"}}]}\n'
        % (b"{}," * 500),
        b'{"type":"page","time":2,"shard":"shard-1","records":[%s{"dynamodb":{"SequenceNumber":"1"}}]}\n'
        % (b'{"dynamodb":{"NewImage":{"a":{"S":"%s"}}}},' % (b"0" * 5000)),
    ],
    ids=["lines", "records", "images"],
)
def test_a_file_of_which_much_more_is_unpacked_than_it_has_is_refused(
    line: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(format, "MOST_HELD", 4 * 1024**2)
    monkeypatch.setattr(format, "MOST_TIMES", 10)
    file = packed(tmp_path / "a.gz", line * (24 * 1024**2 // (len(line) + 200 * line.count(b"{"))))
    message = r"line \d+: up to here it takes 4 MiB of memory; it may take 4 MiB, or 10 times the"
    with pytest.raises(CaptureUnreadable, match=message):
        load(file)


def test_a_large_file_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format, "MOST_HELD", 4 * 1024**2)
    file = tmp_path / "a.jsonl"
    file.write_text(HEAD + SHARD + '{"type":"closed","time":2,"shard":"shard-1"}\n' * 50_000)

    assert len(load(file).lines) == 50_001


@pytest.mark.parametrize("depth", [1500, 100_000])
def test_what_is_nested_too_deep_is_no_line(depth: int, file: Path) -> None:
    nested = f'{{"userIdentity":{{"a":{"[" * depth + "]" * depth}}}}}'
    file.write_text(f'{HEAD}{SHARD}{{"type":"page","time":2,"shard":"shard-1","records":[{nested}]}}\n')
    with pytest.raises(CaptureUnreadable, match="line 3: not a line of a capture: maximum recursion"):
        load(file)


def test_a_shards_name_of_any_length_is_cut(file: Path) -> None:
    file.write_text(f'{HEAD}{{"type":"closed","time":1,"shard":"{"s" * 1_000_000}"}}\n')
    with pytest.raises(CaptureUnreadable) as raised:
        load(file)
    assert len(str(raised.value)) < 500


def shard_line(name: str, parent: str | None) -> str:
    return json.dumps({"type": "shard", "time": 1.5, "id": name, "parent": parent}) + "\n"


def test_a_long_line_of_shards_is_looked_at_once(file: Path) -> None:
    """Each has thousands above it, and one below: looking up to the top each time took the square."""
    names = [f"s{number}" for number in range(60_000)]
    lines = [shard_line(name, above) for name, above in zip(names, [None, *names], strict=False)]
    for number in range(60_000):
        lines += [shard_line(f"below-{number}", f"late-{number}"), shard_line(f"late-{number}", names[-1])]
    file.write_text(HEAD + "".join(lines))

    assert len(load(file).lines) == 180_000


@given(st.lists(st.integers(0, 9), min_size=10, max_size=10), st.permutations(range(10)))
def test_a_circle_of_shards_is_found_wherever_it_is(parents: list[int], order: list[int]) -> None:
    lineage = format._Lineage()
    refused = not all(lineage.add(str(shard), str(parents[shard])) for shard in order)

    # Each has a parent among them, so that there is a circle.
    assert refused
    forest = format._Lineage()
    assert all(forest.add(str(shard), str(min(parents[shard], shard - 1))) for shard in order)


def test_members_that_are_not_known_are_passed_over(file: Path) -> None:
    file.write_text(
        (HEAD + SHARD).replace("}", ',"host":"web-1"}') + '{"type":"end","time":2,"why":"Ctrl-C"}\n'
    )
    assert replayed(file).end == "completed"


def test_compressed_data_that_is_broken(whole: Path, file: Path) -> None:
    data = bytearray(gzip.compress(whole.read_bytes()))
    data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
    file.write_bytes(data)
    with pytest.raises(CaptureUnreadable, match=str(file)):
        replay(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaptureUnreadable, match="nowhere: No such file"):
        replay(tmp_path / "nowhere")
    with pytest.raises(CaptureUnreadable, match="Is a directory"):
        replay(tmp_path)
