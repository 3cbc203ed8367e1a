"""Files that are no captures, or broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from support.captures import Seen, clock, replayed

import rxddbstream as rxd
from rxddbstream.errors import CaptureUnreadable
from rxddbstream.testing import SimulatedStream, capture, replay
from rxddbstream.testing.captures.format import load


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
