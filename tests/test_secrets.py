"""What an item holds goes to the observer, and to nobody else: not to the log, an error, an event, a file."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
import reactivex
from moto.server import ThreadedMotoServer
from reactivex import operators as ops
from reactivex.testing import TestScheduler
from support.waiting import PATIENCE

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.aws.parser import RecordJSON
from rxddbstream.errors import (
    CheckpointError,
    ConfigurationError,
    DecodeError,
    HeldTooLate,
    StreamError,
    TransientError,
)
from rxddbstream.model.change import Change
from rxddbstream.model.messages import Records
from rxddbstream.model.position import TrimHorizon
from rxddbstream.model.record import EncodedRecord
from rxddbstream.protocol.beginning import Beginning
from rxddbstream.protocol.reader import ProtocolError, ShardReader
from rxddbstream.testing import Faults, SimulatedStream

SECRET = "hunter2-4111111111111111"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class World:
    """A simulated table whose keys and attributes are secret, and who is told what of it."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.scheduler = TestScheduler()
        self.seen: list[Any] = []
        self.events: list[rxd.Event] = []
        self.errors: list[Exception] = []
        self._caplog = caplog

    def read(
        self,
        *operators: Callable[[Any], Any],
        on_next: Callable[[Any], object] | None = None,
        client: Any = None,
        stream: dict[str, Any] | None = None,
        seconds: float = 60,
        between: Callable[[SimulatedStream], object] = lambda _: None,
        **options: Any,
    ) -> None:
        sim = SimulatedStream("orders", scheduler=self.scheduler, key="id", **(stream or {}))
        source: Any = rxd.changes(
            sim.arn,
            start="trim_horizon",
            client=client or sim.client,
            events=self.events.append,
            scheduler=self.scheduler,
            **options,
        )
        for number in range(5):
            self.put(sim, number)
        subscription = source.pipe(*operators).subscribe(
            on_next or self.seen.append, self.errors.append, scheduler=self.scheduler
        )
        self.scheduler.advance_by(seconds)
        between(sim)
        sim.split(sim.shards[0].id)
        for number in range(5, 10):
            self.put(sim, number)
        self.scheduler.advance_by(seconds)
        subscription.dispose()

    def put(self, sim: SimulatedStream, number: int) -> None:
        sim.put(f"{SECRET}-{number}", card=SECRET, nested={SECRET: [SECRET]})
        sim.put(f"{SECRET}-{number}", card=SECRET[::-1], blob=SECRET.encode())

    def assert_nothing_leaks(self, logged: str = "") -> None:
        """Args: logged: words that are in the log, so that something is."""
        assert logged in self._caplog.text
        library = [error for error in self.errors if isinstance(error, StreamError)]
        texts = {
            "the log": self._caplog.text,
            "an event": str(self.events),
            "an error": "".join("".join(traceback.format_exception(error)) for error in library),
        }
        for where, text in texts.items():
            assert "hunter2" not in text, where
            assert "2retnuh" not in text, where


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level(logging.INFO)  # of the root, and so of whatever logs
    return World(caplog)


# The library


def test_through_faults(world: World) -> None:
    faults = Faults(seed=3, throttle=0.2, server_error=0.1, reset=0.1, timeout=0.1, truncate=0.1, limit=100)
    world.read(stream={"faults": faults}, seconds=600)

    assert len(world.seen) == 20
    world.assert_nothing_leaks(logged="attempt 1")


@pytest.mark.parametrize("on_gap", ["raise", "skip"])
def test_when_changes_were_lost(world: World, on_gap: str) -> None:
    world.read(between=lambda sim: sim.script("GetRecords", "TrimmedDataAccessException"), on_gap=on_gap)

    assert any(isinstance(event, rxd.Gap) for event in world.events)
    world.assert_nothing_leaks(logged="changes were lost" if on_gap == "skip" else "")


def test_when_the_observer_fails(world: World) -> None:
    def fail(change: Change) -> None:
        raise ValueError(f"{change} {change.new_image}")  # its own words are its own

    world.read(on_next=fail, checkpoints=rxd.MemoryCheckpoints())

    assert [type(error) for error in world.errors] == [ValueError]
    world.assert_nothing_leaks()


class Failing:
    """A store that cannot write."""

    period = 1.0
    count = 1

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.saves = 0

    def load(self, stream: str) -> dict[str, str]:
        return {}

    def save(self, stream: str, positions: dict[str, str]) -> None:
        self.saves += 1
        if self.saves > 2:
            raise self.error

    def forget(self, stream: str, shard_ids: Any) -> None:
        pass

    def close(self, stream: str) -> None:
        pass


@pytest.mark.parametrize("error", [TransientError("busy"), CheckpointError("full"), RuntimeError("broken")])
def test_when_checkpoints_fail(world: World, error: Exception) -> None:
    world.read(checkpoints=Failing(error))

    passing = isinstance(error, TransientError)
    assert bool(world.errors) is not passing
    world.assert_nothing_leaks(logged="checkpoints were not written" if passing else "")


def test_when_a_change_is_held_too_late(world: World) -> None:
    world.read(ops.buffer_with_count(2), dops.hold(), checkpoints=rxd.MemoryCheckpoints())

    [error] = world.errors
    assert isinstance(error, HeldTooLate)
    assert str(error).startswith("a list of 2 changes (the first: change ")
    world.assert_nothing_leaks()


def test_when_a_diff_is_held_too_late(world: World) -> None:
    world.read(
        dops.diff(),
        ops.delay(3.0, scheduler=world.scheduler),
        dops.hold(),
        checkpoints=rxd.MemoryCheckpoints(),
    )

    [error] = world.errors
    assert isinstance(error, HeldTooLate)
    assert " of shard " in str(error)
    world.assert_nothing_leaks()


@pytest.mark.parametrize("operator", [dops.diff, dops.changed])
def test_when_the_stream_leaves_an_image_out(world: World, operator: Callable[[], Any]) -> None:
    world.read(operator(), stream={"view_type": "KEYS_ONLY"})

    [error] = world.errors
    assert isinstance(error, ConfigurationError)
    assert " of shard " in str(error)
    world.assert_nothing_leaks()


ODD = [
    {"N": SECRET},
    {"N": "NaN" + SECRET},
    {"S": SECRET, "N": SECRET},
    {SECRET: SECRET},
    {"SS": SECRET},
    {"NS": [SECRET]},
    {"B": 5},
    {"M": {SECRET: SECRET}},
    {"L": [{SECRET: {"S": SECRET}}]},
    {"Q": SECRET},
    SECRET,
]


def odd_record(value: Any) -> dict[str, Any]:
    numbers = {"SequenceNumber": "1" * 21, "ApproximateCreationDateTime": 1.7e9}
    return {
        "eventName": "INSERT",
        "dynamodb": {**numbers, "Keys": {"id": {"S": SECRET}}, "NewImage": {"a": value}},
    }


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("way", ["one attribute", "all of them"])
@pytest.mark.parametrize("is_json", [True, False])
def test_when_an_attribute_cannot_be_decoded(world: World, value: Any, way: str, is_json: bool) -> None:
    record: Any = odd_record(value)
    if is_json:
        record = msgspec.json.decode(msgspec.json.encode(record), type=RecordJSON)
    assert isinstance(record, EncodedRecord) is is_json
    look: dict[str, Callable[[Change], Any]] = {
        "one attribute": lambda change: change.new_image["a"],  # type: ignore[index]
        "all of them": lambda change: dict(change.new_image.items()),  # type: ignore[union-attr]
    }
    reactivex.of(Change(record, "shard-1")).pipe(ops.map(look[way])).subscribe(
        world.seen.append, world.errors.append
    )

    assert [type(error) for error in world.errors] == [DecodeError]
    world.assert_nothing_leaks()


def test_when_botocore_cannot_parse_a_record(world: World) -> None:
    json = msgspec.json.encode(odd_record({"B": "%" + SECRET}) | {"userIdentity": {"Type": SECRET}})
    with pytest.raises(DecodeError) as raised:
        msgspec.json.decode(json, type=RecordJSON).to_dict()
    world.errors.append(raised.value)
    world.assert_nothing_leaks()


def test_when_the_library_has_a_mistake_of_its_own() -> None:
    beginning = Beginning(TrimHorizon(), listed_at=NOON, began=NOON)
    reader = ShardReader(rxd.Shard("shard-1"), TrimHorizon(), beginning)
    with pytest.raises(ProtocolError, match="Records in state") as raised:
        reader.receive(Records([odd_record({"S": SECRET})], None, NOON), NOON)
    assert SECRET not in str(raised.value)


def test_windows_and_their_keys_are_in_no_checkpoint_file(world: World, tmp_path: Path) -> None:
    world.read(
        dops.fold_window(
            dops.tumbling(1),
            key=lambda change: change.keys["id"],
            fold=dops.count(),
        ),
        checkpoints=rxd.SqliteCheckpoints(tmp_path / "positions", period=1.0),
    )

    assert world.seen
    assert b"AFTER_SEQUENCE_NUMBER" in (tmp_path / "positions").read_bytes()
    assert [file for file in tmp_path.iterdir() if b"hunter2" in file.read_bytes()] == []
    world.assert_nothing_leaks()


# The command line


@pytest.mark.system
def test_the_command_lines_log(tmp_path: Path) -> None:
    """With -v: all that the library and the command log."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client("dynamodb", endpoint_url=url)
    client.create_table(
        TableName="secrets",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    client.put_item(TableName="secrets", Item={"id": {"S": SECRET}})
    client.close()
    options = ["--start", "15m", "--until-end", "--checkpoint", str(tmp_path / "file"), "--endpoint-url", url]
    command = [sys.executable, "-m", "rxddbstream", "secrets", "-v", "-ps", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    server.stop()

    assert ended.returncode == 0
    assert SECRET in ended.stdout
    assert " INFO rxddbstream: " in ended.stderr
    assert SECRET not in ended.stderr
