"""The commands `capture` and `replay`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from support.captures import busy_table, captured, clock, replayed
from support.commandline import WHOLE, Table, run, start
from support.waiting import PATIENCE

from rxddbstream.cli.arguments import parse
from rxddbstream.testing import SimulatedStream
from rxddbstream.testing.captures.format import load


@pytest.fixture
def table(endpoint: str) -> Table:
    table = Table(endpoint)
    table.put(n={"N": "1.50"}, picture={"B": b"\x00\xff"}, words={"SS": ["b", "a"]})
    table.put(n={"N": "2"})
    table.delete()
    return table


@pytest.mark.system
@pytest.mark.parametrize("name", ["file", "file.gz"])
def test_what_is_captured_is_printed_as_the_table_is(name: str, table: Table, tmp_path: Path) -> None:
    file = str(tmp_path / name)
    where = ("--endpoint-url", table.endpoint)
    status, out, err = run("capture", table.name, file, *WHOLE, *where)
    assert (status, out) == (0, [])
    watching, summary = err.splitlines()
    assert watching == f"Starting watcher for shard: {table.shard_id()}"
    size = os.path.getsize(file)
    assert summary == f"rxddbstream: captured 3 changes of 1 shard: {size:,} bytes in {file}"

    for options in ([], ["-ps"], ["-o", "json"], ["-pr", "-o", "diff"], ["--event", "MODIFY"]):
        _, printed, _ = run(table.name, *WHOLE, *where, *options)
        assert run("replay", file, *options) == (0, printed, "")
    _, printed, _ = run(table.name, *WHOLE, *where, "-n", "2")
    assert run("replay", file, "-n", "2", "--speed", "50") == (0, printed, "")
    assert [change.record for change in replayed(Path(file)).items] == table.records()


@pytest.mark.system
def test_ctrl_c_ends_it_with_a_whole_file(table: Table, tmp_path: Path) -> None:
    file = tmp_path / "file.gz"
    where = ("--endpoint-url", table.endpoint)
    with start("capture", table.name, str(file), "--since", "trim-horizon", *where) as process:
        assert process.stderr is not None
        process.stderr.readline()
        for changes in (3, 4):
            until = time.monotonic() + PATIENCE
            while not file.exists() or len(replayed(file).items) < changes:
                assert time.monotonic() < until
                time.sleep(0.05)
            if changes == 3:
                table.put(n={"N": "3"})
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert err == f"rxddbstream: captured 4 changes of 1 shard: {file.stat().st_size:,} bytes in {file}\n"
    assert not load(file).is_cut
    assert len(replayed(file).items) == 4


@pytest.mark.system
def test_it_does_not_overwrite_unless_forced(table: Table, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("dear diary")
    arguments = ("capture", table.name, str(file), *WHOLE, "--endpoint-url", table.endpoint)
    status, _, err = run(*arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"rxddbstream: error: {file} is there already")
    assert file.read_text() == "dear diary"
    status, _, err = run(*arguments, "--force", "-n", "2")
    assert status == 0
    assert "captured 2 changes of 1 shard" in err
    assert len(replayed(file).items) == 2


@pytest.mark.system
def test_nothing_is_left_of_a_capture_that_did_not_begin(endpoint: str, tmp_path: Path) -> None:
    status, _, err = run("capture", "nowhere", str(tmp_path / "file"), "--endpoint-url", endpoint)
    assert status == 1
    nothing, error = err.splitlines()
    assert nothing == "rxddbstream: nothing was captured"
    assert error.startswith("rxddbstream: error: there is no table 'nowhere'")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.system
def test_a_cut_file_is_printed_with_a_warning(tmp_path: Path) -> None:
    file, scheduler = tmp_path / "file", clock()
    sim = SimulatedStream(scheduler=scheduler)
    captured(sim, scheduler, file, busy_table(sim, scheduler, 10))
    file.write_bytes(file.read_bytes()[:-100])
    status, out, err = run("replay", str(file), "-ps")
    assert status == 0
    assert len(out) > 10
    assert err == f"rxddbstream: warning: {file} was cut; this is what there is of it\n"
    _, _, err = run("replay", str(file), "-ps", "-v")
    assert err.count("was cut") == 1


@pytest.mark.system
def test_what_cannot_be_replayed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert run("replay", str(file)) == (1, [], f"rxddbstream: error: {file}: No such file or directory\n")
    file.write_text("dear diary")
    status, _, err = run("replay", str(file))
    words = "line 1: this is no capture; `rxddbstream capture` writes one"
    assert (status, err) == (1, f"rxddbstream: error: {file}, {words}\n")


@pytest.mark.parametrize("arguments", [["capture", "orders"], ["replay"], ["replay", "file", "--speed", "0"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith(f"usage: rxddbstream {arguments[0]} ")


@pytest.mark.parametrize("command", ["capture", "replay"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse([command, "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: rxddbstream {command} ")
    assert max(map(len, text.splitlines())) <= 96
