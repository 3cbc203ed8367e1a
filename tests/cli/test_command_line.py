"""The command line, as a person has it: a process, its two outputs and its exit status."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import reactivex
from reactivex import Observable
from support.commandline import WHOLE, ZONE, ZONE_VARIABLE, Table, run, start
from support.waiting import PATIENCE

import rxddbstream as rxd
from rxddbstream.cli import notes as cli_notes
from rxddbstream.cli import source
from rxddbstream.cli.arguments import COMMANDS, parse
from rxddbstream.cli.main import main
from rxddbstream.errors import ConnectionLost
from rxddbstream.errors import Throttled as ThrottledError
from rxddbstream.model.position import AtTime, TrimHorizon


@pytest.fixture(scope="module")
def table(endpoint: str) -> Table:
    """Where an item was inserted, modified and removed; for reading alone."""
    table = Table(endpoint)
    table.put(n={"N": "1"})
    table.put(n={"N": "2"})
    table.delete()
    return table


@pytest.fixture
def no_changes(monkeypatch: pytest.MonkeyPatch, no_terminate_handler: None) -> None:
    """A stream that ends at once, for tests that call `main` in this process."""
    monkeypatch.setattr("rxddbstream.reading.stream.changes", lambda *_, **__: reactivex.empty())


def reprs(table: Table) -> list[str]:
    records = table.records()
    for record in records:
        detail = record["dynamodb"]
        created_at = detail["ApproximateCreationDateTime"]
        # As in the process's zone; the tzinfo is boto3's tzlocal() in any.
        detail["ApproximateCreationDateTime"] = created_at.astimezone(ZONE).replace(tzinfo=created_at.tzinfo)
    return [str(record) for record in records]


def summaries(table: Table) -> list[str]:
    lines = []
    for record in table.records():
        created_at = record["dynamodb"]["ApproximateCreationDateTime"].astimezone(ZONE)
        lines.append(f"[{created_at:%Y-%m-%dT%H:%M:%S}+02:00] - {record['eventName']} - PK=test, SK=item")
    return lines


# What is printed


@pytest.mark.system
def test_summary(table: Table) -> None:
    status, out, err = run(table.name, "--print-summary", *WHOLE, "--endpoint-url", table.endpoint)
    assert status == 0
    assert out == summaries(table)
    assert [line.split(" - ")[1] for line in out] == ["INSERT", "MODIFY", "REMOVE"]
    assert err == f"Starting watcher for shard: {table.shard_id()}\n"


@pytest.mark.system
def test_record_is_the_default_and_is_what_boto3_returns(table: Table) -> None:
    status, out, _ = run(table.arn, *WHOLE, "--endpoint-url", table.endpoint)
    assert status == 0
    assert out == reprs(table)


@pytest.mark.system
def test_record_and_summary_in_this_order_however_they_are_given(table: Table) -> None:
    status, out, _ = run(table.name, "-ps", "-pr", *WHOLE, AWS_ENDPOINT_URL=table.endpoint)
    both = zip(reprs(table), summaries(table), strict=True)
    assert (status, out) == (0, [line for pair in both for line in pair])


@pytest.mark.system
def test_json_of_every_kind_of_value(own_table: Table) -> None:
    own_table.put(
        picture={"B": b"\x00\xff"},
        numbers={"NS": ["3", "1", "20"]},
        words={"SS": ["b", "a"]},
        pieces={"BS": [b"\x01"]},
        exact={"N": "12345678901234567890.12345678901234567"},
        nested={"M": {"list": {"L": [{"NULL": True}, {"BOOL": True}, {"M": {"ü": {"S": 'a "b"\n'}}}]}}},
    )
    status, [line], _ = run(own_table.name, "--format", "json", *WHOLE, "--endpoint-url", own_table.endpoint)
    assert status == 0
    printed = json.loads(line)
    keys = {"PK": "test", "SK": "item"}
    [record] = own_table.records()
    created_at = record["dynamodb"]["ApproximateCreationDateTime"].astimezone(UTC)
    assert datetime.fromisoformat(printed.pop("created_at")) == created_at
    assert printed == {
        "event_name": "INSERT",
        "keys": keys,
        "new_image": {
            **keys,
            "picture": "AP8=",
            "numbers": [1, 3, 20],
            "words": ["a", "b"],
            "pieces": ["AQ=="],
            "exact": pytest.approx(12345678901234567890),
            "nested": {"list": [None, True, {"ü": 'a "b"\n'}]},
        },
        "old_image": None,
        "sequence_number": record["dynamodb"]["SequenceNumber"],
        "shard_id": own_table.shard_id(),
    }
    assert "12345678901234567890.12345678901234567" in line


# Where it starts and ends


@pytest.mark.system
def test_ends_after_n_changes(table: Table) -> None:
    status, out, _ = run(
        table.name, "-ps", "-n", "2", "--start", "trim-horizon", "--endpoint-url", table.endpoint
    )
    assert (status, out) == (0, summaries(table)[:2])


def test_starts_at_a_time() -> None:
    # moto knows no AT_TIMESTAMP: the way around it is tested with the library. Here: what people type.
    now = datetime(2026, 2, 1, tzinfo=UTC)
    assert source.position_of("15m", now) == AtTime(now - timedelta(minutes=15))
    assert source.position_of("2026-01-31T12:00Z", now) == AtTime(datetime(2026, 1, 31, 12, tzinfo=UTC))
    local = datetime(2026, 1, 31, 12).astimezone()
    assert source.position_of("2026-01-31T12:00", now) == AtTime(local.astimezone(UTC))
    assert source.position_of("trim-horizon", now) == TrimHorizon()


def test_what_is_older_than_the_service_keeps_is_said_not_to_be_there(
    no_changes: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["orders", "--start", "3d"]) == 0
    words = "DynamoDB keeps changes for 24 hours; --start 3d is longer ago"
    assert capsys.readouterr().err == f"rxddbstream: {words}\n"
    assert main(["orders", "--start", "1d"]) == 0
    assert capsys.readouterr().err == ""


def test_nothing_to_read_is_said_with_what_may_have_been_meant(
    no_changes: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["orders", "--no-follow"]) == 0
    assert capsys.readouterr().err == (
        "rxddbstream: nothing to read: --until-end reads what was written before; "
        "did you mean --since trim-horizon?\n"
    )
    for more in (["--start", "trim-horizon"], ["--start", "15m"], ["--checkpoint", "file"]):
        assert main(["orders", "--no-follow", *more]) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.system
@pytest.mark.parametrize("when", ["15m", "minutes ago"])
def test_starts_in_the_past(table: Table, when: str) -> None:
    if when == "minutes ago":
        when = (datetime.now(ZONE) - timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M")
    status, out, err = run(
        table.name, "-ps", "--start", when, "--no-follow", "--endpoint-url", table.endpoint
    )
    assert (status, out) == (0, summaries(table)), err


@pytest.mark.system
def test_prints_new_changes_at_once_until_ctrl_c(own_table: Table) -> None:
    with start(own_table.name, "-ps", "--endpoint-url", own_table.endpoint) as process:
        assert process.stdout is not None
        number = 0
        while not select.select([process.stdout], [], [], 0.1)[0]:
            own_table.put(n={"N": str(number)})  # until the stream's end has been marked
            number += 1
            assert number < 10 * PATIENCE
        assert process.stdout.readline().endswith(" - PK=test, SK=item\n")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err == f"Starting watcher for shard: {own_table.shard_id()}\n"


@pytest.mark.system
def test_terminate(table: Table) -> None:
    with start(table.name, "-ps", "--start", "trim-horizon", "--endpoint-url", table.endpoint) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert "Traceback" not in err


@pytest.mark.system
def test_closed_pipe_is_a_quiet_end(own_table: Table) -> None:
    own_table.put(n={"N": "0"})
    with start(
        own_table.name, "-ps", "--start", "trim-horizon", "--endpoint-url", own_table.endpoint
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        own_table.put(n={"N": "1"})
        assert process.wait(timeout=PATIENCE) == 0
        assert process.stderr.read() == f"Starting watcher for shard: {own_table.shard_id()}\n"


@pytest.mark.system
def test_ctrl_c_while_nobody_reads_the_pipe(own_table: Table) -> None:
    own_table.put(text={"S": "x" * 300_000})  # more than a pipe holds
    with start(own_table.name, "--start", "trim-horizon", "--endpoint-url", own_table.endpoint) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        select.select([process.stdout], [], [], PATIENCE)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 130
        assert process.stderr.read() == f"Starting watcher for shard: {own_table.shard_id()}\n"


@pytest.mark.system
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_full_disk(table: Table) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "rxddbstream", table.name, *WHOLE, "--endpoint-url", table.endpoint],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    assert result.returncode == 1
    assert result.stderr.splitlines()[1:] == ["rxddbstream: error: standard output: No space left on device"]


# What goes wrong


@pytest.mark.system
def test_unknown_table(endpoint: str) -> None:
    status, out, err = run("nowhere", "--endpoint-url", endpoint)
    assert (status, out) == (1, [])
    [line] = err.splitlines()
    assert line.startswith("rxddbstream: error: there is no table 'nowhere' in region ")
    assert "check its name" in line


@pytest.mark.system
def test_verbose_tells_where_an_error_came_from(endpoint: str) -> None:
    status, _, err = run("nowhere", "-v", "--endpoint-url", endpoint)
    assert status == 1
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("rxddbstream: error: there is no table")


@pytest.mark.system
def test_table_without_a_stream(endpoint: str) -> None:
    table = Table(endpoint, has_stream=False)
    status, _, err = run(table.name, "--endpoint-url", endpoint)
    assert status == 1
    [line] = err.splitlines()
    assert line.startswith(f"rxddbstream: error: table '{table.name}' has no stream")
    assert f"aws dynamodb update-table --table-name {table.name} --stream-specification" in line


@pytest.mark.system
def test_no_region(table: Table) -> None:
    status, _, err = run(
        table.name, "--endpoint-url", table.endpoint, without=("AWS_DEFAULT_REGION", "AWS_REGION")
    )
    assert status == 2
    [line] = err.splitlines()
    assert line.startswith("rxddbstream: error: no region: ")
    assert "--region" in line


@pytest.mark.system
def test_no_credentials(table: Table) -> None:
    without = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    status, _, err = run(table.name, "--endpoint-url", table.endpoint, without=without)
    assert status == 1
    [line] = err.splitlines()
    assert line.startswith("rxddbstream: error: no credentials")
    assert "aws configure" in line


@pytest.mark.system
def test_no_such_profile(table: Table) -> None:
    status, _, err = run(table.name, "--profile", "nobody")
    assert (status, err.count("\n")) == (2, 1)
    assert "nobody" in err


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("yesterday", "yesterday is not a position: use latest, "),
        ("15x", "15x is not a position"),
        ("it's", "'it'\"'\"'s' is not a position"),
        ("", "'' is not a position"),
        ("2999-01-01", "2999-01-01 lies in the future"),
        ("0001-01-01", "0001-01-01 lies beyond the calendar"),
        ("99999999999d", "99999999999d lies beyond the calendar"),
    ],
)
def test_bad_start(
    when: str,
    words: str,
    no_changes: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", ZONE_VARIABLE["TZ"])
    time.tzset()
    assert main(["orders", f"--start={when}"]) == 2
    monkeypatch.undo()
    time.tzset()
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"rxddbstream: error: --start {words}")


def test_another_things_arn(capsys: pytest.CaptureFixture[str], no_terminate_handler: None) -> None:
    assert main(["arn:aws:sns:eu-central-1:1:topic"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "looks like an ARN, but is not a stream's or a table's" in line


def test_what_was_written_while_it_began_is_not_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_terminate_handler: None
) -> None:
    change = rxd.Change({"eventName": "INSERT"}, "shard-1")
    monkeypatch.setattr("rxddbstream.reading.stream.changes", lambda *_, **__: reactivex.of(change))
    assert main(["orders", "--no-follow"]) == 0
    assert capsys.readouterr() == ("{'eventName': 'INSERT'}\n", "")


def first_lines_of_error(count: int, *arguments: str) -> list[str]:
    """Of one that would go on for ever."""
    with start(*arguments) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(count)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    return lines


NOBODY = ("--endpoint-url", "http://127.0.0.1:1")
CHECK = "check --region, --endpoint-url and the network; Ctrl-C ends it\n"


@pytest.mark.system
def test_a_service_that_was_never_reached_is_tried_on_and_what_to_check_is_said_once() -> None:
    failed, advice, again = first_lines_of_error(3, "orders", *NOBODY)
    assert "http://127.0.0.1:1" in failed
    assert advice == f"rxddbstream: {CHECK}"
    assert "http://127.0.0.1:1" in again


def test_a_mistyped_region_is_said_to_be_one() -> None:
    # The endpoint's name alone matters here, so that nobody asks for it.
    error = ConnectionLost('Could not connect: "https://dynamodb.eu-centrall-1.amazonaws.com/"')
    assert cli_notes.advice(error) == (
        "boto3 knows no region 'eu-centrall-1'; did you mean eu-central-1? "
        "Check --region, --endpoint-url and the network"
    )
    error = ConnectionLost('Could not connect: "https://streams.dynamodb.xx.amazonaws.com/"')
    assert cli_notes.advice(error).startswith("boto3 knows no region 'xx'. Check --region")
    for known in ("eu-central-1.amazonaws.com", "cn-north-1.amazonaws.com.cn"):
        error = ConnectionLost(f'Could not connect: "https://dynamodb.{known}/"')
        assert cli_notes.advice(error).startswith("check --region")


@pytest.mark.system
def test_shards_of_a_service_that_cannot_be_reached() -> None:
    status, out, err = run("shards", "orders", *NOBODY)
    assert (status, out) == (1, [])
    [line] = err.splitlines()
    assert line.endswith('"http://127.0.0.1:1/"; check --region, --endpoint-url and the network')


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["orders", "-n", "0"],
        ["orders", "-n", "many"],
        ["orders", "--format", "xml"],
        ["orders", "--follow-me"],
        ["demo", "--rate", "0"],
        ["demo", "--rate", "nan"],
        ["demo", "orders"],
        ["shards"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("usage: rxddbstream")


def test_mistakes_of_our_own_come_as_a_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_terminate_handler: None
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("rxddbstream.reading.stream.changes", broken)
    assert main(["orders"]) == 1
    assert capsys.readouterr().err == "rxddbstream: error: KeyError: 'x'\n"


def test_lost_changes_are_told_and_make_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_terminate_handler: None
) -> None:
    def changes(stream: str, *, on_gap: str, events: Any, **_: object) -> Observable[rxd.Change]:
        assert (stream, on_gap) == ("orders", "skip")
        events(rxd.Gap("shard-1", None, "read too late"))
        return reactivex.empty()

    monkeypatch.setattr("rxddbstream.reading.stream.changes", changes)
    assert main(["orders"]) == 3
    err = capsys.readouterr().err
    assert err == "rxddbstream: warning: changes of shard shard-1 were lost: read too late\n"


def test_notes_tell_of_retries_once_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(cli_notes.time, "monotonic", lambda: now)
    notes = cli_notes.Notes()
    notes(rxd.ShardOpened(rxd.Shard("shard-1"), TrimHorizon()))
    for shard_id in ("shard-1", "shard-2"):
        notes(rxd.Throttled(shard_id, ThrottledError(f"reading {shard_id}: Rate\nexceeded"), 1, 1.23))
    for delay in (0.04, 0.0004, 20.0):
        now += 1.0
        notes(rxd.Retrying(None, ConnectionLost("no answer"), 2, delay))
    assert capsys.readouterr().err.splitlines() == [
        "Starting watcher for shard: shard-1",
        "rxddbstream: reading shard-1: Rate exceeded; retrying in 1.2 s",
        "rxddbstream: no answer; retrying in 0.04 s",
        "rxddbstream: no answer; retrying at once",
        "rxddbstream: no answer; retrying in 20 s",
    ]


@pytest.mark.system
def test_verbose_tells_what_is_done_and_nothing_twice(table: Table, tmp_path: Path) -> None:
    for begins in ("its oldest change on", f"after {int(table.records()[-1]['dynamodb']['SequenceNumber'])}"):
        file = str(tmp_path / "position")
        status, _, err = run(table.name, "-v", *WHOLE, "--checkpoint", file, "--endpoint-url", table.endpoint)
        assert status == 0
        logged = [line for line in err.splitlines() if " INFO rxddbstream: " in line]
        said = [line for line in err.splitlines() if line not in logged]
        assert said == [f"Starting watcher for shard: {table.shard_id()}"]
        log = "\n".join(logged)
        assert f"stream {table.arn} at {table.endpoint}" in log
        assert f"shard {table.shard_id()} is read from {begins}" in log
        assert f"shard {table.shard_id()} was read to its end" in log
        assert "changes were read, by " in logged[-1]
        assert ("checkpoints were written: " in log) is (begins == "its oldest change on")


def test_verbose_leaves_retries_and_losses_to_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    notes = cli_notes.Notes(is_logged=True)
    notes(rxd.Throttled("shard-1", ThrottledError("too many"), 1, 1.0))
    notes(rxd.Gap("shard-1", None, "read too late"))
    assert notes.gaps == 1
    assert capsys.readouterr().err == ""


@pytest.mark.system
@pytest.mark.parametrize("module", ["argparse", "rxddbstream.cli", "reactivex"])
def test_ctrl_c_while_it_is_starting(module: str, tmp_path: Path) -> None:
    # As if Ctrl-C came in the middle of this import.
    script = f"""if True:
        import runpy, sys
        class CtrlC:
            def find_spec(self, name, *_):
                if name == {module!r}:
                    raise KeyboardInterrupt
        sys.modules.pop({module!r}, None)
        sys.meta_path.insert(0, CtrlC())
        sys.argv[1:] = ["orders"]
        runpy.run_module("rxddbstream", run_name="__main__", alter_sys=True)
    """
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_the_command_is_the_module() -> None:
    [script] = entry_points(group="console_scripts", name="rxddbstream")
    assert callable(script.load())


@pytest.mark.system
def test_importing_the_package_imports_nothing_that_takes_time() -> None:
    script = "import sys; before = {*sys.modules}; import rxddbstream; print(*{*sys.modules} - before)"
    ended = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True)
    assert not {"logging", "typing", "boto3", "reactivex", "argparse"} & {*ended.stdout.split()}


# Help and commands


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    options = "--print-record -pr --print-summary -ps --format --start --no-follow -n --endpoint-url --region"
    others = "--profile --verbose --version STREAM demo shards trim-horizon 15m examples:"
    assert [word for word in f"{options} {others}".split() if word not in text] == []
    assert max(map(len, text.splitlines())) <= 96


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: rxddbstream {command} ")


@pytest.mark.system
@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_help_imports_nothing_that_takes_time(command: list[str]) -> None:
    script = f"""if True:
        import contextlib, sys
        from rxddbstream.cli.main import main
        with contextlib.suppress(SystemExit):
            main([*{command}, "--help"])
        print(*sys.modules)
    """
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    help_, modules = ended.stdout.rstrip().rsplit("\n", 1)
    assert help_.startswith("usage: rxddbstream")
    assert not {"boto3", "botocore", "reactivex", "rich", "moto", "sqlite3"} & {*modules.split()}


def test_a_mistyped_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words, question in ((["shard", "orders"], True), (["orders", "items"], False)):
        with pytest.raises(SystemExit) as exit_:
            main(words)
        assert exit_.value.code == 2
        assert capsys.readouterr().err.endswith("did you mean `rxddbstream shards`?\n") is question


@pytest.mark.system
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_full_disk_is_no_traceback(option: str) -> None:
    command = [sys.executable, "-m", "rxddbstream", option]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    assert "Traceback" not in ended.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    name, number = capsys.readouterr().out.split()
    assert name == "rxddbstream"
    assert number == rxd.__version__
    assert number[0].isdigit()


def test_a_table_may_have_a_commands_name() -> None:
    assert parse(["demo"]).command == "demo"
    for arguments in (["--", "demo"], ["-ps", "demo"], ["-ps", "--", "demo"]):
        args = parse(arguments)
        assert (args.command, args.stream) == ("watch", "demo")


@pytest.mark.system
def test_shards_of_a_stream(table: Table) -> None:
    status, out, err = run("shards", table.name, "--endpoint-url", table.endpoint)
    assert (status, out, err) == (0, [f"{table.shard_id()}  open"], "")


@pytest.mark.system
@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("rxddbstream sh", {"shards "}),
        ("rxddbstream demo --r", {"--rate "}),
        ("rxddbstream orders --unt", {"--until-end "}),
        ("rxddbstream orders --format summ", {"summary "}),
    ],
)
def test_completion(line: str, completions: set[str], tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE": "1"}
    run(**asked, _ARGCOMPLETE_IFS=",", _ARGCOMPLETE_STDOUT_FILENAME=str(answer))
    assert {*answer.read_text().split(",")} == completions
