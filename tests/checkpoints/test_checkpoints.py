"""The stores: one contract for all of them, what can be wrong with each, and what a person is told."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from moto import mock_aws
from moto.server import ThreadedMotoServer
from reactivex import operators as ops
from reactivex.testing import TestScheduler
from support.reading import Reader, ids

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.checkpoints.codec import from_text, to_text
from rxddbstream.errors import (
    CheckpointError,
    CheckpointLocked,
    CheckpointUnreadable,
    ConfigurationError,
    ConnectionLost,
    DataTrimmed,
    MalformedAnswer,
    Throttled,
    TransientError,
)
from rxddbstream.model.position import After, AtTime, TrimHorizon
from rxddbstream.testing import SimulatedStream

STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-01-31T12:00:00.000"
OTHER = STREAM.replace("orders", "orders-2")
FIRST, SECOND, THIRD = "1 AFTER 0009", "1 AFTER 0010", "2 SHARD_END"
TABLE = "checkpoints"


def ready(store: rxd.CheckpointStore, stream: str = STREAM) -> dict[str, str]:
    """Load as the library does: again, as long as it may help."""
    for _ in range(10):
        try:
            return dict(store.load(stream))
        except TransientError:
            continue
    raise AssertionError("never ready")


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("dynamodb")


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], rxd.CheckpointStore]:
    """Makes a store on the same ground each time: as a process does that starts anew."""
    if request.param == "memory":
        memory = rxd.MemoryCheckpoints()
        return lambda: memory
    if request.param == "sqlite":
        return lambda: rxd.SqliteCheckpoints(tmp_path / "positions.db")
    client = request.getfixturevalue("dynamodb")
    return lambda: rxd.DynamoDBCheckpoints(TABLE, consumer="mailer", client=client)


# What holds for all of them


def test_what_was_saved_is_there_after_the_store_was_closed(make):
    store = make()
    assert ready(store) == {}
    store.save(STREAM, {"shard-1": FIRST, "shard-2": THIRD})
    store.close(STREAM)
    again = make()
    assert ready(again) == {"shard-1": FIRST, "shard-2": THIRD}
    again.save(STREAM, {"shard-1": SECOND})
    again.close(STREAM)
    assert ready(make()) == {"shard-1": SECOND, "shard-2": THIRD}


def test_one_store_can_be_opened_again(make):
    store = make()
    for number in range(3):
        assert len(ready(store)) == number
        store.save(STREAM, {f"shard-{number}": FIRST})
        store.close(STREAM)


def test_a_position_never_moves_backwards(make):
    store = make()
    ready(store)
    for text in (FIRST, SECOND, FIRST, THIRD, SECOND):
        store.save(STREAM, {"shard-1": text, "shard-2": FIRST})
    store.close(STREAM)
    assert ready(make()) == {"shard-1": THIRD, "shard-2": FIRST}


def test_streams_are_kept_apart(make):
    for stream, text in ((STREAM, FIRST), (OTHER, SECOND)):
        store = make()
        ready(store, stream)
        store.save(stream, {"shard-1": text})
        store.close(stream)
    store = make()
    assert ready(store, OTHER) == {"shard-1": SECOND}
    store.forget(OTHER, ["shard-1"])
    store.close(OTHER)
    assert ready(make(), STREAM) == {"shard-1": FIRST}


def test_what_is_forgotten_is_gone_and_the_rest_is_not(make):
    store = make()
    ready(store)
    store.save(STREAM, {"shard-1": FIRST, "shard-10": FIRST, "shard-2": SECOND})
    store.forget(STREAM, ["shard-1", "shard-2", "shard-unknown"])
    store.forget(STREAM, [])
    store.save(STREAM, {})
    store.close(STREAM)
    assert ready(make()) == {"shard-10": FIRST}


def test_names_may_be_anything(make):
    names = ["*start", "shard/1", "'; DROP TABLE checkpoint; --", "Schlüssel", "shardId-000001"]
    store = make()
    ready(store)
    store.save(STREAM, dict.fromkeys(names, FIRST))
    store.close(STREAM)
    assert ready(make()) == dict.fromkeys(names, FIRST)


def test_many_shards(make):
    positions = {f"shardId-{number:020}": to_text(After(str(number))) for number in range(300)}
    store = make()
    ready(store)
    store.save(STREAM, positions)
    store.close(STREAM)
    assert ready(make()) == positions


def test_what_the_loaded_mapping_is_told_does_not_reach_the_store(make):
    store = make()
    ready(store)["shard-1"] = FIRST
    store.close(STREAM)
    assert ready(make()) == {}


def test_positions_as_text_are_in_their_order():
    times = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1, UTC)]
    order = [*map(AtTime, times), After("9"), After("10"), After("1" * 40), None]
    texts = [to_text(position) for position in order]
    assert texts == sorted(texts)
    assert to_text(TrimHorizon()) < to_text(After("0"))


def test_the_defaults_and_ones_own_period_and_count(make, tmp_path):
    store = make()
    assert (store.period, store.count) == (5.0, 1000)
    others = [
        rxd.MemoryCheckpoints(period=1.0, count=7),
        rxd.SqliteCheckpoints(tmp_path / "own.db", period=1.0, count=7),
        rxd.DynamoDBCheckpoints(TABLE, consumer="me", period=1.0, count=7),
    ]
    assert [(other.period, other.count) for other in others] == [(1.0, 7)] * 3


# SQLite: the file


OPEN = "import sys, rxddbstream as rxd; store = rxd.SqliteCheckpoints(sys.argv[1]); store.load(sys.argv[2])"
SAVE_AND_STAY = (
    f"{OPEN}; store.save(sys.argv[2], {{'shard-1': '1 X'}}); print('saved', flush=True); sys.stdin.read()"
)


def load_in_another_process(path: Path) -> str:
    """What it is told: the last line of its standard error."""
    command = [sys.executable, "-c", OPEN, str(path), STREAM]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return (ended.stderr.splitlines() or [""])[-1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "positions.db"


@pytest.fixture
def store(path: Path) -> Iterator[rxd.SqliteCheckpoints]:
    """One that is in use, with something in it."""
    store = rxd.SqliteCheckpoints(path)
    store.load(STREAM)
    store.save(STREAM, {"shard-1": FIRST})
    yield store
    store.close(STREAM)


def used(path: Path, count: int = 3) -> Path:
    """A file that a consumer has used and left."""
    store = rxd.SqliteCheckpoints(path)
    store.load(STREAM)
    store.save(STREAM, {f"shardId-{number:020}": to_text(After("1" * 21)) for number in range(count)})
    store.close(STREAM)
    return path


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_the_file_is_its_owners_alone_and_in_wal_mode(store, path):
    # A umask of 0 is the worst case, and what daemons have.
    old = os.umask(0)
    try:
        used(path.with_name("umask.db"))
    finally:
        os.umask(old)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert "positions.db-wal" in modes
    store.close(STREAM)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_each_write_is_synced(store):
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_second_consumer_in_this_process_is_refused(store, path):
    with pytest.raises(CheckpointLocked, match=r"positions\.db is in use by another consumer; one file is"):
        rxd.SqliteCheckpoints(path).load(STREAM)
    with pytest.raises(CheckpointLocked, match="Stop the other one, or name another file"):
        store.load(OTHER)
    store.save(STREAM, {"shard-1": SECOND})
    store.close(STREAM)
    assert rxd.SqliteCheckpoints(path).load(STREAM) == {"shard-1": SECOND}


def test_a_second_consumer_in_another_process_is_refused(store, path):
    assert "CheckpointLocked: checkpoint file" in load_in_another_process(path)
    store.save(STREAM, {"shard-1": SECOND})
    store.close(STREAM)
    assert load_in_another_process(path) == ""


def test_whoever_is_refused_does_not_unlock_the_file(store, path):
    # A process that closes a file loses its locks on it, those of its other connections, too.
    with pytest.raises(CheckpointLocked):
        rxd.SqliteCheckpoints(path).load(STREAM)
    assert "CheckpointLocked" in load_in_another_process(path)


def test_a_file_reached_by_another_name_is_the_same_file(store, path):
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(CheckpointLocked):
        rxd.SqliteCheckpoints(link).load(STREAM)


def test_a_killed_process_leaves_no_lock_and_loses_nothing(path):
    command = [sys.executable, "-c", SAVE_AND_STAY, str(path), STREAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "saved\n"
        with pytest.raises(CheckpointLocked):
            rxd.SqliteCheckpoints(path).load(STREAM)
        process.send_signal(signal.SIGKILL)
    assert path.with_name("positions.db-wal").exists()
    store = rxd.SqliteCheckpoints(path)
    assert store.load(STREAM) == {"shard-1": "1 X"}
    store.close(STREAM)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_was_made_and_never_written_is_as_good_as_none(path):
    path.touch()
    assert used(path).stat().st_size


def text_file(path: Path) -> None:
    path.write_text("dear diary\n")


def one_byte(path: Path) -> None:
    path.write_bytes(b"x")


def long_text_file(path: Path) -> None:
    path.write_text("dear diary\n" * 10_000)


def garbled(path: Path) -> None:
    data = bytearray(used(path, 300).read_bytes())
    data[100:] = b"\xa5" * (len(data) - 100)
    path.write_bytes(data)


def garbled_head(path: Path) -> None:
    data = used(path).read_bytes()
    path.write_bytes(b"\0" * 100 + data[100:])


def truncated(path: Path) -> None:
    path.write_bytes(used(path, 300).read_bytes()[:6000])


def truncated_in_its_last_page(path: Path) -> None:
    with open(used(path), "r+b") as file:
        file.truncate(5000)


def without_its_last_byte(path: Path) -> None:
    path.write_bytes(used(path).read_bytes()[:-1])


def zeroed_in_its_last_page(path: Path) -> None:
    data = used(path).read_bytes()
    path.write_bytes(data[:5000] + b"\0" * (len(data) - 5000))


def a_row_without_a_name(path: Path) -> None:
    with closing(sqlite3.connect(used(path))) as connection, connection:
        connection.execute("INSERT INTO checkpoint VALUES (x'00', x'00', '1 X')")


def left_by_a_crash_and_damaged(path: Path) -> None:
    script = f"{SAVE_AND_STAY.partition('print')[0]} import os; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script, str(used(path, 300)), STREAM])
    assert path.with_name(f"{path.name}-wal").stat().st_size
    data = path.read_bytes()
    path.write_bytes(data[:12_000] + b"\xa5" * (len(data) - 12_000))


def truncated_in_its_first_page(path: Path) -> None:
    path.write_bytes(used(path).read_bytes()[:1000])


def truncated_in_its_head(path: Path) -> None:
    path.write_bytes(used(path).read_bytes()[:50])


def foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE diary (day TEXT)")


def foreign_database_that_is_empty(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")


def foreign_database_left_by_a_crash(path: Path) -> None:
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode = WAL');"
        "c.execute('CREATE TABLE diary (day TEXT)'); c.commit(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)])
    assert path.with_name(f"{path.name}-wal").stat().st_size


@pytest.mark.parametrize(
    "spoil",
    [
        text_file,
        one_byte,
        long_text_file,
        garbled,
        garbled_head,
        truncated,
        truncated_in_its_last_page,
        without_its_last_byte,
        zeroed_in_its_last_page,
        a_row_without_a_name,
        pytest.param(
            left_by_a_crash_and_damaged,
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="SQLite folds the journal in"),
        ),
        truncated_in_its_first_page,
        truncated_in_its_head,
        foreign_database,
        foreign_database_that_is_empty,
        foreign_database_left_by_a_crash,
    ],
)
def test_a_file_that_is_damaged_or_not_ours_is_refused_and_left_as_it_is(path, spoil):
    spoil(path)
    before = contents(path.parent)
    for _ in range(2):
        with pytest.raises(CheckpointUnreadable) as caught:
            rxd.SqliteCheckpoints(path).load(STREAM)
        assert str(path) in str(caught.value)
        assert "it was left as it is" in str(caught.value)
        assert "ame another file" in str(caught.value)
    assert contents(path.parent) == before


def test_a_page_that_was_cut_by_a_crash_is_mended(path):
    script = f"{SAVE_AND_STAY.partition('print')[0]} import os; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script, str(path), STREAM])
    assert path.with_name(f"{path.name}-wal").stat().st_size
    with open(path, "ab") as file:
        file.write(b"x" * 100)
    assert rxd.SqliteCheckpoints(path).load(STREAM) == {"shard-1": "1 X"}


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=f"{tmp_path} is not a file"):
        rxd.SqliteCheckpoints(tmp_path).load(STREAM)


def test_a_missing_directory_is_named(tmp_path):
    missing = tmp_path / "nowhere" / "positions.db"
    with pytest.raises(CheckpointError, match=rf"{missing}: No such file or directory"):
        rxd.SqliteCheckpoints(missing).load(STREAM)
    assert list(tmp_path.iterdir()) == []


def load_as_nobody(path: Path) -> str:
    """What one who is not root is told."""
    if os.getuid() != 0:
        with pytest.raises(CheckpointError) as caught:
            rxd.SqliteCheckpoints(path).load(STREAM)
        return str(caught.value)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(65534)
            rxd.SqliteCheckpoints(path).load(STREAM)
        except CheckpointError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    with open(reader) as pipe:
        return pipe.read()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="of POSIX")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork in a process with threads
def test_a_file_that_may_only_be_read_is_left_as_it_is():
    with tempfile.TemporaryDirectory() as directory:
        path = used(Path(directory) / "positions.db")
        before = contents(path.parent)
        path.parent.chmod(0o777)
        path.chmod(0o444)
        assert load_as_nobody(path) == f"checkpoint file {path} may not be read and written by this user"
        path.chmod(0o666)
        path.parent.chmod(0o555)  # the WAL file cannot be made
        assert load_as_nobody(path).startswith(f"checkpoint file {path}: ")
        assert "Permission denied" in load_as_nobody(path.with_name("new.db"))
        path.parent.chmod(0o755)
        assert contents(path.parent) == before


@pytest.mark.skipif(os.name != "posix", reason="of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_the_mode_of_a_file_that_is_there_is_its_owners_to_choose(path, mode):
    used(path)
    path.chmod(mode)
    store = rxd.SqliteCheckpoints(path)
    store.load(STREAM)
    store.save(STREAM, {"shard-1": FIRST})
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    store.close(STREAM)
    assert modes == {"positions.db": mode, "positions.db-wal": mode}


@pytest.mark.skipif(os.name != "posix", reason="of POSIX")
def test_the_file_is_never_there_with_another_mode(path, monkeypatch):
    # SQLite would make it, readable by everybody, and leave what is there already.
    found = []
    connect = sqlite3.connect

    def looking(*arguments, **options):
        found.append(path.stat().st_mode & 0o777)
        return connect(*arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", looking)
    old = os.umask(0)
    try:
        used(path)
    finally:
        os.umask(old)
    assert set(found) == {0o600}


def test_a_store_that_is_not_open_says_so(path):
    with pytest.raises(CheckpointError, match="is not open"):
        rxd.SqliteCheckpoints(path).save(STREAM, {"shard-1": FIRST})
    rxd.SqliteCheckpoints(path).close(STREAM)
    assert not path.exists()


# DynamoDB: the table


def dynamodb_store(client: Any, consumer: str = "mailer") -> rxd.DynamoDBCheckpoints:
    return rxd.DynamoDBCheckpoints(TABLE, consumer=consumer, client=client)


def test_the_table_is_made_when_it_is_not_there(dynamodb):
    with pytest.raises(TransientError, match="checkpoint table 'checkpoints' is being created"):
        dynamodb_store(dynamodb).load(STREAM)
    table = dynamodb.describe_table(TableName=TABLE)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["consumer", "shard"]
    assert dynamodb_store(dynamodb).load(STREAM) == {}


def test_consumers_share_a_table_and_nothing_else(dynamodb):
    for consumer, text in (("mailer", FIRST), ("audit", SECOND)):
        store = dynamodb_store(dynamodb, consumer)
        ready(store)
        store.save(STREAM, {"shard-1": text})
    assert dynamodb_store(dynamodb, "mailer").load(STREAM) == {"shard-1": FIRST}
    dynamodb_store(dynamodb, "mailer").forget(STREAM, ["shard-1"])
    assert dynamodb_store(dynamodb, "audit").load(STREAM) == {"shard-1": SECOND}


def test_two_processes_of_one_consumer_never_move_it_back(dynamodb):
    ahead, behind = dynamodb_store(dynamodb), dynamodb_store(dynamodb)
    ready(ahead), ready(behind)
    ahead.save(STREAM, {"shard-1": SECOND})
    behind.save(STREAM, {"shard-1": FIRST, "shard-2": FIRST})
    assert behind.load(STREAM) == {"shard-1": SECOND, "shard-2": FIRST}


def test_a_table_for_something_else_is_left_as_it_is(dynamodb):
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(CheckpointUnreadable, match=r"'checkpoints' has another key .*Name another table"):
        dynamodb_store(dynamodb).load(STREAM)


class Through:
    """A client that answers some operations itself; the rest goes through to another one."""

    def __init__(self, client: Any, **answers: Callable[..., Any]) -> None:
        self._client = client
        self._answers = answers

    def __getattr__(self, operation: str) -> Any:
        return self._answers.get(operation) or getattr(self._client, operation)


def failing(code: str, message: str = "no", status: int = 400) -> Callable[..., Any]:
    def call(**_: Any) -> Any:
        answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, "Operation")  # type: ignore[arg-type]

    return call


def test_positions_are_read_page_by_page(dynamodb):
    positions = {f"shard-{number}": FIRST for number in range(7)}
    ready(dynamodb_store(dynamodb))
    dynamodb_store(dynamodb).save(STREAM, positions)
    asked = []

    def query(**arguments: Any) -> Any:
        asked.append(arguments)
        return dynamodb.query(Limit=2, **arguments)

    assert dynamodb_store(Through(dynamodb, query=query)).load(STREAM) == positions
    assert len(asked) >= 4
    assert all(arguments["ConsistentRead"] for arguments in asked)


@pytest.mark.parametrize(
    "operation", ["describe_table", "create_table", "query", "update_item", "delete_item"]
)
def test_a_missing_permission_is_named(dynamodb, operation):
    if operation != "create_table":
        ready(dynamodb_store(dynamodb))
    denied = failing("AccessDeniedException", f"User: me is not authorized to perform: {operation}")
    store = dynamodb_store(Through(dynamodb, **{operation: denied}))

    def use_it() -> None:
        store.load(STREAM)
        store.save(STREAM, {"shard-1": FIRST})
        store.forget(STREAM, ["shard-1"])

    with pytest.raises(CheckpointError) as caught:
        use_it()
    message = str(caught.value)
    assert message.startswith(f"{operation} on checkpoint table 'checkpoints': ")
    assert "me is not authorized" in message
    assert "dynamodb:DescribeTable, Query, UpdateItem and DeleteItem" in message
    assert "DescribeStream" not in message


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ProvisionedThroughputExceededException", 400, Throttled),
        ("ThrottlingException", 400, Throttled),
        ("InternalServerError", 500, TransientError),
        ("ResourceInUseException", 400, TransientError),
        ("ExpiredTokenException", 400, CheckpointError),
        ("ResourceNotFoundException", 400, CheckpointError),
        ("ValidationException", 400, CheckpointError),
    ],
)
def test_what_may_pass_is_transient_and_nothing_else(dynamodb, code, status, expected):
    store = dynamodb_store(Through(dynamodb, update_item=failing(code, status=status)))
    ready(store)
    with pytest.raises(expected, match="checkpoint table 'checkpoints'"):
        store.save(STREAM, {"shard-1": FIRST})


@pytest.mark.parametrize(
    "error",
    [
        ConnectionClosedError(endpoint_url="http://localhost"),
        EndpointConnectionError(endpoint_url="http://localhost", error="refused"),
        ReadTimeoutError(endpoint_url="http://localhost"),
    ],
)
def test_a_lost_connection_is_transient(dynamodb, error):
    def fail(**_: Any) -> None:
        raise error

    ready(dynamodb_store(dynamodb))
    store = dynamodb_store(Through(dynamodb, query=fail))
    with pytest.raises(ConnectionLost, match="query on checkpoint table 'checkpoints'"):
        store.load(STREAM)


@pytest.mark.parametrize("operation", ["describe_table", "query"])
def test_an_answer_that_was_cut_is_not_an_empty_one(dynamodb, operation):
    ready(dynamodb_store(dynamodb))
    with pytest.raises(MalformedAnswer, match=f"{operation} on checkpoint table"):
        dynamodb_store(Through(dynamodb, **{operation: lambda **_: {}})).load(STREAM)


def test_no_region_is_told_as_everywhere(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(rxd.errors.ConfigurationError, match="no region"):
        rxd.DynamoDBCheckpoints(TABLE, consumer="mailer").load("a stream without a region")


def test_dynamodb_local_takes_the_same_calls(dynamodb_local):
    # moto lets pass what DynamoDB does not: reserved words in expressions.
    client = dynamodb_local.client("dynamodb")
    store = dynamodb_store(client)
    assert ready(store) == {}
    store.save(STREAM, {"shard-1": SECOND, "shard-2": FIRST, "shard-3": THIRD})
    store.save(STREAM, {"shard-1": FIRST, "shard-2": SECOND})
    store.forget(STREAM, ["shard-3"])
    store.close(STREAM)
    assert dynamodb_store(client).load(STREAM) == {"shard-1": SECOND, "shard-2": SECOND}
    assert dynamodb_store(client, "audit").load(STREAM) == {}
    client.delete_table(TableName=TABLE)


# What a subscription makes of its store


@pytest.mark.parametrize("checkpoints", ["x.ck", Path("x.ck")])
def test_a_path_alone_is_not_a_store(checkpoints):
    with pytest.raises(ConfigurationError) as caught:
        rxd.changes("orders", checkpoints=checkpoints)
    words = f"checkpoints={checkpoints!r} is not a store: use rxd.SqliteCheckpoints('x.ck')"
    assert str(caught.value) == words


@pytest.fixture
def scheduler() -> TestScheduler:
    scheduler = TestScheduler()
    scheduler.advance_to(1_000_000.0)
    return scheduler


def subscribed(sim: SimulatedStream, scheduler: TestScheduler, store: Any, **options: Any) -> Reader:
    return Reader(sim, scheduler, {"checkpoints": store, "start": "trim_horizon", **options})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("'nonsense'", "not a position: 'nonsense'"),
        ("''", "not a position: ''"),
        ("7", "not a position: '7'"),
        ("'1 AFTER_SEQUENCE_NUMBER -3'", "not a position"),
        ("'0 AT_TIMESTAMP yesterday'", "yesterday"),
        ("'0 AT_TIMESTAMP 2026-01-31T12:00:00'", "not a position"),
        ("x'ff00'", "are damaged"),
        ("CAST(x'ff' AS TEXT)", "not a position: '\N{REPLACEMENT CHARACTER}'"),
    ],
)
def test_damaged_positions_end_the_stream_and_are_left_as_they_are(path, scheduler, value, words):
    with closing(sqlite3.connect(used(path))) as connection, connection:
        sim = SimulatedStream(scheduler=scheduler)
        connection.execute(f"INSERT INTO checkpoint VALUES (?, 'shard-1', {value})", (sim.arn,))
    before = contents(path.parent)
    reader = subscribed(sim, scheduler, rxd.SqliteCheckpoints(path))
    assert isinstance(reader.error, CheckpointUnreadable)
    assert str(reader.error).startswith(f"the checkpoints of stream {sim.arn} are damaged")
    assert words in str(reader.error)
    assert "they were left as they are" in str(reader.error)
    assert sim.calls["GetRecords"] == 0
    # The file may be used again, and has the same rows.
    reader = subscribed(sim, scheduler, rxd.SqliteCheckpoints(path))
    assert isinstance(reader.error, CheckpointUnreadable)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM checkpoint").fetchone() == (4,)
    assert contents(path.parent).keys() == before.keys()


@pytest.mark.parametrize("position", [{}, {"position": {"N": "7"}}, {"position": {"S": "nonsense"}}])
def test_damaged_items_of_a_table_end_the_stream(dynamodb, scheduler, position):
    sim = SimulatedStream(scheduler=scheduler)
    ready(dynamodb_store(dynamodb))
    key = {"consumer": {"S": "mailer"}, "shard": {"S": f"{sim.arn}/shard-1"}}
    dynamodb.put_item(TableName=TABLE, Item={**key, **position})
    reader = subscribed(sim, scheduler, dynamodb_store(dynamodb))
    assert isinstance(reader.error, CheckpointUnreadable)


def test_a_table_is_waited_for(dynamodb, scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    reader = subscribed(sim, scheduler, dynamodb_store(dynamodb))
    sim.put("a")
    scheduler.advance_by(30)
    assert reader.error is None
    assert len(reader.changes) == 1
    [retry] = [event for event in reader.events if isinstance(event, rxd.Retrying)]
    assert "is being created" in str(retry.error)


class Own:
    """A store as a person would write one; fails as told."""

    period = 5.0
    count = 1000

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.log: list[str] = []
        self.fail: dict[str, list[Exception]] = {}

    def load(self, stream: str) -> dict[str, str]:
        self._called("load")
        return self.kept

    def save(self, stream: str, positions: Any) -> None:
        self._called("save")
        for shard_id, position in positions.items():
            self.kept[shard_id] = max(position, self.kept.get(shard_id, ""))

    def forget(self, stream: str, shard_ids: Any) -> None:
        self._called("forget")
        for shard_id in shard_ids:
            del self.kept[shard_id]

    def close(self, stream: str) -> None:
        self._called("close")

    def _called(self, name: str) -> None:
        self.log.append(name)
        if self.fail.get(name):
            raise self.fail[name].pop(0)


def test_a_store_of_ones_own(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    first = subscribed(sim, scheduler, store)
    sim.put("a"), sim.put("b")
    scheduler.advance_by(10)
    first.subscription.dispose()
    sim.put("c"), sim.roll_over()
    sim.put("d")
    second = subscribed(sim, scheduler, store)
    scheduler.advance_by(30)
    second.subscription.dispose()
    assert [[change.keys["id"] for change in reader.changes] for reader in (first, second)] == [
        ["a", "b"],
        ["c", "d"],
    ]
    assert (store.log.count("load"), store.log.count("close")) == (2, 2)
    assert store.log[-1] == "close"


@pytest.mark.parametrize("method", ["load", "save"])
def test_a_store_that_fails_ends_the_stream(scheduler, method):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    store.fail[method] = [KeyError("x")]
    reader = subscribed(sim, scheduler, store)
    assert isinstance(reader.error, CheckpointError)
    assert str(reader.error) == "the checkpoint store failed: KeyError: 'x'"
    assert isinstance(reader.error.__cause__, KeyError)
    assert store.log.count("close") == (method == "save")


def test_a_store_that_fails_later_ends_the_stream_and_is_closed(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    reader = subscribed(sim, scheduler, store)
    sim.put("a")
    scheduler.advance_by(1)
    store.fail["save"] = [OSError("disk full"), OSError("disk full")]
    scheduler.advance_by(5)
    assert str(reader.error) == "the checkpoint store failed: OSError: disk full"
    assert store.log[-1] == "close"
    sim.put("b")
    scheduler.advance_by(30)
    assert len(reader.changes) == 1


def test_what_a_store_raises_of_ours_comes_as_it_is(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    store.fail["load"] = [error := CheckpointLocked("elsewhere")]
    assert subscribed(sim, scheduler, store).error is error


def test_loading_is_tried_again_where_it_may_help(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    store.fail["load"] = [TransientError("busy"), Throttled("slow down")]
    reader = subscribed(sim, scheduler, store)
    sim.put("a")
    scheduler.advance_by(10)
    assert len(reader.changes) == 1
    assert [type(event) for event in reader.events[:2]] == [rxd.Retrying, rxd.Throttled]
    assert store.log.count("load") == 3


def test_a_write_that_failed_in_passing_is_made_up_for_by_the_next(scheduler, caplog):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    reader = subscribed(sim, scheduler, store)
    sim.put("a")
    store.fail["save"] = [TransientError("busy"), TransientError("busy")]
    scheduler.advance_by(11)
    assert "checkpoints were not written, the next time they will be: busy" in caplog.text
    assert reader.error is None
    scheduler.advance_by(5)
    shard_id, number = reader.changes[0].shard_id, reader.changes[0].sequence_number
    assert store.kept[shard_id] == to_text(After(number))


@pytest.mark.parametrize("written", [1, 2, 3, 4])
def test_a_store_that_is_cut_off_among_the_first_positions_still_knows_what_latest_meant(scheduler, written):
    # One that writes one by one, such as DynamoDBCheckpoints.
    sim, store = SimulatedStream(scheduler=scheduler, shards=4), Own()
    sim.put("before"), sim.roll_over()
    scheduler.advance_by(100)
    subscribed(sim, scheduler, store, start="latest").subscription.dispose()
    store.kept = dict(itertools.islice(store.kept.items(), written))
    while_it_was_down = [sim.put(n) for n in range(20)]
    again = subscribed(sim, scheduler, store, start="latest")
    scheduler.advance_by(60)
    assert sorted(again.ids) == sorted(ids(while_it_was_down))


def test_who_disposes_while_the_store_is_opened_leaves_it_closed(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    store.fail["load"] = [TransientError("busy")]  # so that it is opened after subscribe has returned
    reader = subscribed(sim, scheduler, store)
    opened = store.load

    def load(stream: str) -> dict[str, str]:
        reader.subscription.dispose()
        return opened(stream)

    store.load = load  # type: ignore[method-assign]
    scheduler.advance_by(10)
    assert store.log.count("close") == 1
    assert store.log[-1] == "close"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("operation", ["DescribeStream", "GetShardIterator"])
def test_who_is_interrupted_while_subscribing_leaves_the_store_closed(path, interrupt, operation):
    sim, store = SimulatedStream(), rxd.SqliteCheckpoints(path)

    def press_ctrl_c(called: str, _: Any) -> None:
        if called == operation and threading.current_thread() is threading.main_thread():
            sim.before_call = None
            raise interrupt

    sim.before_call = press_ctrl_c
    source = rxd.changes(sim.arn, client=sim.client, checkpoints=store)
    with pytest.raises(interrupt):
        source.subscribe()
    sim.put("a")
    seen: list[rxd.Change] = []
    rxd.run(rxd.changes(sim.arn, client=sim.client, checkpoints=store, follow=False), seen.append)
    assert len(seen) == (operation == "GetShardIterator")  # by then it was written what "latest" means


def test_bounded_reads_go_on_where_the_last_one_ended(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    runs = []
    for key in "abcd":
        sim.put(key)
        if key == "c":
            sim.roll_over()
        scheduler.advance_by(5)
        reader = subscribed(sim, scheduler, store, follow=False)
        scheduler.advance_by(60)
        assert reader.completed
        runs.append([change.keys["id"] for change in reader.changes])
    assert runs == [["a"], ["b"], ["c"], ["d"]]


def test_what_was_held_in_a_parent_comes_again_before_what_is_new_in_its_child(scheduler):
    # first run     P: -0-1-2-3-|    1 is never released
    #               C:           -4-5-|
    # second run    P: ---1-2-3-|
    #               C:           ---6-
    sim, store = SimulatedStream(scheduler=scheduler, page_size=1), Own()
    held = []

    def release_all_but_one(change):
        held.append(change)
        return [] if change.new_image["n"] == 1 else change

    source = rxd.changes(
        sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon", checkpoints=store
    )
    pipeline = source.pipe(dops.hold(), ops.map(release_all_but_one), dops.release())
    first = pipeline.subscribe()
    for n in range(6):
        if n == 4:
            sim.roll_over()
        sim.put("a", n=n)
        scheduler.advance_by(10)
    first.dispose()
    assert len(held) == 6
    sim.put("a", n=6)
    second = subscribed(sim, scheduler, store)
    scheduler.advance_by(60)
    assert [int(change.new_image["n"]) for change in second.changes] == [1, 2, 3, 6]


def test_a_loss_is_told_once_also_by_short_runs(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    options = {"follow": False, "on_gap": "skip"}
    sim.put("a")
    assert subscribed(sim, scheduler, store, **options).error is None
    scheduler.advance_by(10)
    sim.put("lost"), sim.roll_over()
    scheduler.advance_by(30 * 3600)
    sim.put("b"), sim.roll_over()
    sim.put("c")
    runs = []
    for _ in range(2):
        reader = subscribed(sim, scheduler, store, **options)
        scheduler.advance_by(20)
        assert reader.completed
        gaps = [event for event in reader.events if isinstance(event, rxd.Gap)]
        runs.append(([change.keys["id"] for change in reader.changes], len(gaps)))
    # Of the shard that is gone, and of the one that came after it.
    assert runs == [(["b", "c"], 2), ([], 0)]


AWAY_TOO_LONG = 26 * 3600
SELDOM = rxd.Poll(fastest=60, slowest=600)


def gaps_of(reader: Reader) -> list[rxd.Gap]:
    return [event for event in reader.events if isinstance(event, rxd.Gap)]


@pytest.mark.parametrize("start", ["latest", "trim_horizon"])
@pytest.mark.parametrize("rolled_over", [False, True])
def test_who_had_read_nothing_yet_and_was_away_for_too_long_is_told_so_each_time(
    scheduler, start, rolled_over
):
    # A position that is a time, or the trim horizon, the service moves up in silence.
    sim, store = SimulatedStream(scheduler=scheduler, shards=2), Own()
    first = subscribed(sim, scheduler, store, start=start, poll=SELDOM)
    scheduler.advance_by(3600)
    first.subscription.dispose()
    sim.put("lost")
    if rolled_over:
        sim.roll_over()
    scheduler.advance_by(AWAY_TOO_LONG)
    sim.put("a")
    for _ in range(2):
        strict = subscribed(sim, scheduler, store, start=start)
        scheduler.advance_by(100)
        assert isinstance(strict.error, DataTrimmed)
        assert strict.changes == []
    lenient = subscribed(sim, scheduler, store, start=start, on_gap="skip")
    scheduler.advance_by(100)
    lenient.subscription.dispose()
    assert lenient.error is None
    assert lenient.ids == ids(sim.records[1:])
    assert gaps_of(lenient)
    again = subscribed(sim, scheduler, store, start=start)
    scheduler.advance_by(100)
    assert again.error is None
    assert gaps_of(again) == []


@pytest.mark.parametrize("hours_alive", [1, 30])
@pytest.mark.parametrize("start", ["latest", "trim_horizon"])
def test_who_was_away_for_less_than_a_day_is_told_of_no_gap_however_old_its_position(
    scheduler, start, hours_alive
):
    sim, store = SimulatedStream(scheduler=scheduler, shards=2), Own()
    first = subscribed(sim, scheduler, store, start=start, poll=SELDOM)
    scheduler.advance_by(hours_alive * 3600)
    first.subscription.dispose()
    written = [sim.put("a"), sim.put("b")]
    scheduler.advance_by(23 * 3600)
    again = subscribed(sim, scheduler, store, start=start)
    scheduler.advance_by(100)
    assert again.error is None
    assert sorted(again.ids) == sorted(ids(written))


def test_a_change_that_was_held_from_the_beginning_and_is_gone_is_a_gap(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    source = rxd.changes(
        sim.arn,
        client=sim.client,
        scheduler=scheduler,
        start="trim_horizon",
        checkpoints=store,
        poll=SELDOM,
    )
    holding = source.pipe(dops.hold()).subscribe()
    scheduler.advance_by(600)
    sim.put("held")
    scheduler.advance_by(23 * 3600)
    holding.dispose()
    scheduler.advance_by(2 * 3600)  # away for two hours, but the change is older than a day
    again = subscribed(sim, scheduler, store)
    scheduler.advance_by(60)
    assert isinstance(again.error, DataTrimmed)


def test_an_idle_consumer_writes_once_a_minute_when_it_was_alive(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler, shards=2), Own()
    reader = subscribed(sim, scheduler, store)
    scheduler.advance_by(10)
    saves, events = store.log.count("save"), len(reader.events)
    scheduler.advance_by(3600)
    assert 55 <= store.log.count("save") - saves <= 61
    assert len(reader.events) == events  # no news
    kept = from_text(store.kept["*seen"])
    assert timedelta(0) <= scheduler.now - kept.time <= timedelta(seconds=70)


def test_a_consumer_that_kept_no_sign_of_life_resumes_all_the_same(scheduler):
    sim, store = SimulatedStream(scheduler=scheduler), Own()
    subscribed(sim, scheduler, store).subscription.dispose()
    del store.kept["*seen"]  # one of an earlier release
    sim.put("a")
    again = subscribed(sim, scheduler, store)
    scheduler.advance_by(100)
    assert again.ids == ids(sim.records)
    assert "*seen" in store.kept


# The command line: --checkpoint FILE


@pytest.fixture
def command(path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs `rxddbstream orders --checkpoint FILE` against moto; `command.write(...)` writes items."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("dynamodb", endpoint_url=endpoint)
    client.create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        words = ["orders", "--format", "json", "--checkpoint", str(path), "--start", "trim-horizon", *options]
        return subprocess.run(
            [sys.executable, "-m", "rxddbstream", *words, "--endpoint-url", endpoint],
            capture_output=True,
            text=True,
            timeout=30,
        )

    def write(*ids: str) -> None:
        for each in ids:
            client.put_item(TableName="orders", Item={"id": {"S": each}})

    run.write = write  # type: ignore[attr-defined]
    yield run
    client.delete_table(TableName="orders")  # moto's tables live as long as this process
    client.close()
    server.stop()


def printed(run: subprocess.CompletedProcess[str]) -> list[str]:
    assert run.returncode == 0, run.stderr
    return [json.loads(line)["keys"]["id"] for line in run.stdout.splitlines()]


def test_the_command_line_goes_on_exactly_where_it_stopped(command, path):
    command.write(*"abcdefghij")
    # -n ends it in the middle of a page, and --no-follow at the end of what there is.
    assert [printed(command("-n", "4")) for _ in range(2)] == [[*"abcd"], [*"efgh"]]
    assert printed(command("--no-follow")) == ["i", "j"]
    assert printed(command("--no-follow")) == []
    command.write("k", "l")
    assert printed(command("--no-follow")) == ["k", "l"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_command_line_says_that_the_file_is_in_use(command, store, path):
    run = command("-n", "1")
    assert (run.returncode, run.stdout) == (1, "")
    [line] = run.stderr.splitlines()
    assert line.startswith(f"rxddbstream: error: checkpoint file {path} is in use by another consumer")


@pytest.mark.parametrize("spoil", [text_file, truncated, truncated_in_its_last_page, foreign_database])
def test_the_command_line_says_that_the_file_is_not_good(command, path, spoil):
    spoil(path)
    before = contents(path.parent)
    run = command("-n", "1")
    assert (run.returncode, run.stdout) == (1, "")
    [line] = run.stderr.splitlines()
    assert line.startswith("rxddbstream: error: ")
    assert str(path) in line
    assert "ame another file" in line
    assert contents(path.parent) == before
