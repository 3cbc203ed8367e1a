"""What takes long over DynamoDB Local, because it waits: all of it at once, in a process of its own.

`conftest.py` starts the scenarios that are selected with the first test, hands a scenario's result to the
tests that ask for it, and has these tests come last. A process of its own, since other tests change the
environment, collect garbage and compute meanwhile. It has its own emulators, which end with the last
scenario: a racing clock takes half a processor as long as it runs.

Under the racing clock, 1,200 times as fast, a shard is rolled over every 12 s, an iterator lives for 0.75 s,
a change for 72 s. Each scenario has a table of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.dynamodb_local import RACING, DynamoDBLocal
from support.waiting import PATIENCE, wait_until

import rxddbstream as rxd
from rxddbstream.checkpoints.codec import from_text
from rxddbstream.errors import StreamError
from rxddbstream.model.position import After, Position

CONSUMER = Path(__file__).with_name("consumer.py")
TESTS = Path(__file__).parent.parent
AT_ONCE = 4  # more of them get too little of two processors to keep up with the clock
LONGEST = 600.0

KILLS = 10
RATE = 50
PERIOD = 0.5
RETENTION = 72.0
ITEMS = 10

Result = dict[str, Any]


class Writer(threading.Thread):
    """Counts up in ten items, so many writes a second, until it is stopped."""

    def __init__(self, server: DynamoDBLocal, table: str, rate: float) -> None:
        super().__init__(daemon=True)
        self._client = server.session().client("dynamodb", endpoint_url=server.endpoint_url)
        self._table = table
        self._rate = rate
        self._told_to_end = threading.Event()
        self.written = 0
        self.error: Exception | None = None

    def run(self) -> None:
        begun = time.monotonic()
        try:
            while not self._told_to_end.is_set():
                self._put(self.written)
                self.written += 1
                self._told_to_end.wait(begun + self.written / self._rate - time.monotonic())
        except Exception as error:  # noqa: BLE001 - raised again by stop()
            self.error = error
        finally:
            self._client.close()

    def _put(self, number: int) -> None:
        item = {"id": {"S": f"item-{number % ITEMS}"}, "n": {"N": str(number)}}
        for attempt in itertools.count():
            try:
                self._client.put_item(TableName=self._table, Item=item)
                return
            except Exception:  # under a racing clock its connections time out
                if attempt == 20:
                    raise

    def stop(self) -> int:
        """How many were written."""
        self._told_to_end.set()
        self.join(PATIENCE)
        if self.error is not None:
            raise self.error
        return self.written


@dataclass
class Scenario:
    """One table, its writer, one consumer with its output."""

    server: DynamoDBLocal
    directory: Path
    table: str
    process: subprocess.Popen[bytes] | None = None
    writer: Writer | None = None
    started: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.arn = self.server.create_table(self.table)
        self.checkpoint = self.directory / f"{self.table}.db"
        self.store: tuple[str, str] = ("--sqlite", str(self.checkpoint))
        self.output = self.directory / f"{self.table}.jsonl"
        self.errors = self.directory / f"{self.table}.err"
        self.output.touch()

    def start(self, *options: str) -> None:
        command = [sys.executable, CONSUMER, self.table, self.server.endpoint_url, self.output]
        command += [*self.store, "--period", str(PERIOD)]
        now = time.time()
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen([*command, *options], stderr=errors)
        self.started.append((self.process.pid, now))

    def start_writing(self, rate: float = RATE) -> Writer:
        """Begin as soon as the consumer has."""
        self.wait_for(lambda: self.events("ShardOpened"))
        self.writer = Writer(self.server, self.table, rate)
        self.writer.start()
        return self.writer

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process is not None:
            self.kill()
        if self.writer is not None:
            self.writer.stop()

    def lines(self) -> list[dict[str, Any]]:
        # The last one may be half written, by a process that lives.
        whole = self.output.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line.get("event") == name]

    def kept(self) -> dict[str, Position | None]:
        """The positions in the checkpoints."""
        kept: dict[str, Position | None] = {}
        for event in self.events("Checkpointed"):
            kept |= {shard_id: from_text(text) for shard_id, text in event["positions"].items()}
        return kept

    def runs(self) -> list[list[dict[str, Any]]]:
        """What each process has delivered."""
        runs: dict[int, list[dict[str, Any]]] = {pid: [] for pid, _ in self.started}
        for line in self.lines():
            if "n" in line:
                runs[line["pid"]].append(line)
        return list(runs.values())

    def delivered(self) -> set[int]:
        return {line["n"] for line in self.lines() if "n" in line}

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the consumer of {self.table} has ended: {self.errors.read_text()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.table}: not within {PATIENCE:g} s; {self.lines()[-3:]}")
            time.sleep(0.2)

    def read_the_rest(self, writer: Writer) -> int:
        """Wait until the consumer has what was written, and end it; how many there were."""
        total = writer.stop()
        self.wait_for(lambda: {total - 1} <= self.delivered())
        time.sleep(1.0)  # the last one of each shard and item
        self.kill()
        return total

    def result(self, total: int, **more: Any) -> Result:
        events = [line for line in self.lines() if "event" in line]
        return {
            "total": total,
            "runs": self.runs(),
            "events": events,
            "started": self.started,
            "more": more,
        }


def killed_again_and_again(scenario: Scenario) -> Result:
    """Killed ten times while somebody writes."""
    scenario.start()
    writer = scenario.start_writing()
    for number in range(KILLS):
        # Not in step with the checkpoints, and now and then before anything was read.
        if number % 5 != 4:
            scenario.wait_for(lambda: scenario.runs()[-1])
            time.sleep(1.2 + 0.17 * number)
        else:
            time.sleep(0.3)
        scenario.kill()
        scenario.start()
    time.sleep(2)
    return scenario.result(scenario.read_the_rest(writer))


def killed_with_its_checkpoints_in_dynamodb(scenario: Scenario) -> Result:
    """The same; where the checkpoints are on the racing clock, too."""
    scenario.store = ("--dynamodb", "checkpoints")
    return killed_again_and_again(scenario)


def killed_before_the_first_checkpoint(scenario: Scenario) -> Result:
    """From "latest", with a period that never comes round; down while shards roll over."""
    scenario.start("--period", "1000", "--count", "1000000")
    writer = scenario.start_writing(20)
    scenario.wait_for(lambda: len(scenario.delivered()) >= 20)
    scenario.kill()
    before = len(scenario.delivered())
    time.sleep(15)
    scenario.start()
    return scenario.result(scenario.read_the_rest(writer), before=before)


def with_iterators_that_always_expire(scenario: Scenario) -> Result:
    """Polled more seldom than iterators live."""
    scenario.start("--fastest", "1.0", "--slowest", "1.5")
    writer = scenario.start_writing(5)
    time.sleep(40)
    return scenario.result(scenario.read_the_rest(writer))


def killed_between_a_buffer_and_the_write(scenario: Scenario) -> Result:
    """A hundred changes are held together; the process dies with the third hundred in its hands."""
    scenario.start("--batch", "100", "--die-in-batch", "3")
    writer = scenario.start_writing()
    assert scenario.process is not None
    scenario.process.wait(2 * PATIENCE)
    scenario.start("--batch", "100")
    time.sleep(5)
    total = writer.stop()
    scenario.wait_for(lambda: len(scenario.delivered()) > total - 100)
    time.sleep(1)
    scenario.kill()
    return scenario.result(total)


def away_for_longer_than_the_retention(scenario: Scenario) -> Result:
    """Then once with each policy, and on the command line, all from the same checkpoint."""
    scenario.start()
    writer = scenario.start_writing(4)
    scenario.wait_for(lambda: len(scenario.delivered()) >= 10)
    # Early in the life of a shard, with a change of it in the checkpoint: it is not over before the kill.
    scenario.wait_for(lambda: len(scenario.events("ShardOpened")) > 1)
    shard_id = scenario.events("ShardOpened")[-1]["shard_id"]
    scenario.wait_for(lambda: isinstance(scenario.kept().get(shard_id), After))
    scenario.kill()
    time.sleep(RETENTION + 16)
    copies = {name: scenario.directory / f"{name}.db" for name in ("raise", "command")}
    for copy in copies.values():
        for suffix in ("", "-wal"):
            shutil.copy(f"{scenario.checkpoint}{suffix}", f"{copy}{suffix}")

    def shell() -> Result:
        command = [sys.executable, "-m", "rxddbstream", scenario.table, "--format", "json", "--no-follow"]
        where = ["--endpoint-url", scenario.server.endpoint_url, "--checkpoint", str(copies["command"])]
        run = subprocess.run([*command, *where], capture_output=True, text=True, timeout=PATIENCE)
        return {"status": run.returncode, "stdout": run.stdout, "stderr": run.stderr}

    first, again = shell(), shell()
    scenario.start("--sqlite", str(copies["raise"]), "--on-gap", "raise")
    assert scenario.process is not None
    status = scenario.process.wait(PATIENCE)
    scenario.start("--on-gap", "skip")
    scenario.wait_for(lambda: scenario.runs()[-1])
    total = scenario.read_the_rest(writer)
    return scenario.result(total, shell=first, again=again, status=status)


def write(server: DynamoDBLocal, table: str, seconds: float, rate: int) -> dict[str, list[int]]:
    """Count up in ten items, so many writes a second; for each item the numbers written."""
    dynamodb = server.client("dynamodb")
    written: dict[str, list[int]] = {}
    begun = time.monotonic()
    for n in range(int(seconds * rate)):
        key = f"item-{n % ITEMS}"
        dynamodb.put_item(TableName=table, Item={"id": {"S": key}, "n": {"N": str(n)}})
        written.setdefault(key, []).append(n)
        time.sleep(max(0.0, begun + (n + 1) / rate - time.monotonic()))
    return written


class Collector:
    """Collects in the background what a stream delivers."""

    def __init__(self, server: DynamoDBLocal, table: str, **options: Any) -> None:
        self.changes: list[rxd.Change] = []
        self.events: list[rxd.Event] = []
        self.errors: list[Exception] = []
        source = rxd.changes(
            table,
            endpoint_url=server.endpoint_url,
            session=server.session(),
            events=self.events.append,
            poll=rxd.Poll(fastest=0.05, slowest=0.25),
            **options,
        )
        self.subscription = source.subscribe(self.changes.append, self.errors.append)

    def wait_until_it_reads(self) -> None:
        wait_until(lambda: self.errors or any(isinstance(event, rxd.ShardOpened) for event in self.events))

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.changes) >= count or self.errors)

    def result(self) -> Result:
        items: dict[str, list[int]] = {}
        for change in self.changes:
            items.setdefault(change.keys["id"], []).append(int((change.new_image or {})["n"]))
        closed = sum(isinstance(event, rxd.ShardClosed) for event in self.events)
        return {"errors": list(map(repr, self.errors)), "numbers_by_item": items, "shards_closed": closed}


def read_over_roll_overs(scenario: Scenario) -> Result:
    """By consumers that were there before the first write, while somebody writes for 45 seconds.

    Fifteen minutes of the racing clock are 0.75 s: less than it may take until a consumer was answered.
    """
    server, table = scenario.server, scenario.table
    seconds = 45
    starts: dict[str, Any] = {
        "latest": "latest",
        "trim_horizon": "trim_horizon",
        "15m": timedelta(minutes=15),
    }
    consumers = {name: Collector(server, table, start=start) for name, start in starts.items()}
    for consumer in consumers.values():
        consumer.wait_until_it_reads()
    command = [sys.executable, "-m", "rxddbstream", table, "--start", "trim-horizon", "--format", "json"]
    command += ["-n", str(seconds * RATE), "--endpoint-url", server.endpoint_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        stdout = process.stdout
        lines: list[str] = []
        pump = threading.Thread(target=lambda: lines.extend(stdout), daemon=True)
        pump.start()
        written = write(server, table, seconds, RATE)
        for consumer in consumers.values():
            consumer.wait_for(seconds * RATE)
            consumer.subscription.dispose()
        pump.join(PATIENCE)
        process.kill()
    read = {name: consumer.result() for name, consumer in consumers.items()}
    return {"consumers": read, "lines": lines, "written": written}


def bounded_while_somebody_writes(scenario: Scenario) -> Result:
    """A bounded read, faster than which somebody writes.

    DynamoDB Local dates changes in whole minutes, so until the next minute it cannot know that a change was
    made after it began.
    """
    server, table = scenario.server, scenario.table
    time.sleep((50 - time.time()) % 60)
    written = write(server, table, 1, RATE)
    stop = threading.Event()

    def go_on_writing() -> None:
        while not stop.is_set():
            write(server, table, 1, 200)

    writer = threading.Thread(target=go_on_writing, daemon=True)
    writer.start()
    changes: list[rxd.Change] = []
    try:
        rxd.run(changes_of(server, table, follow=False), changes.append)
    finally:
        stop.set()
        writer.join()
    return {"numbers": [int((change.new_image or {})["n"]) for change in changes], "written": written}


def disabled_then_read(scenario: Scenario) -> Result:
    """A stream that was disabled, read by who follows and by who does not."""
    server, table = scenario.server, scenario.table
    written = write(server, table, 1, 10)
    off = {"StreamEnabled": False}
    server.client("dynamodb").update_table(TableName=table, StreamSpecification=off)
    changes: list[rxd.Change] = []
    error = None
    try:
        rxd.run(changes_of(server, scenario.arn), changes.append)
    except StreamError as ended_with:
        error = [type(ended_with).__name__, str(ended_with)]
    bounded: list[rxd.Change] = []
    rxd.run(changes_of(server, scenario.arn, follow=False), bounded.append)
    return {
        "error": error,
        "count": len(changes),
        "bounded_is_the_same": bounded == changes,
        "written": written,
    }


def changes_of(server: DynamoDBLocal, stream: str, **options: Any) -> Any:
    """From the first one on."""
    return rxd.changes(
        stream,
        start="trim_horizon",
        endpoint_url=server.endpoint_url,
        session=server.session(),
        **options,
    )


def rolled_over(scenario: Scenario) -> Result:
    """What the service says of a shard that was rolled over, and of its successor."""
    streams = scenario.server.client("dynamodbstreams")

    def describe(**options: Any) -> dict[str, Any]:
        return streams.describe_stream(StreamArn=scenario.arn, **options)["StreamDescription"]

    def iterator(kind: str, **options: Any) -> str:
        place = {"StreamArn": scenario.arn, "ShardId": parent["ShardId"], "ShardIteratorType": kind}
        return streams.get_shard_iterator(**place, **options)["ShardIterator"]

    for each in ("a", "b"):
        scenario.server.client("dynamodb").put_item(TableName=scenario.table, Item={"id": {"S": each}})
    listed: list[dict[str, Any]] = []

    def is_rolled_over() -> bool:
        listed[:] = describe()["Shards"]
        return len(listed) > 1

    wait_until(is_rolled_over)
    parent = listed[0]
    pages = []
    page = {"NextShardIterator": iterator("TRIM_HORIZON")}
    while following := page.get("NextShardIterator"):
        page = streams.get_records(ShardIterator=following, Limit=1)
        pages.append(page)
        if not page["Records"]:
            break
    last = page["Records"][-1]["dynamodb"]["SequenceNumber"]
    after_last = iterator("AFTER_SEQUENCE_NUMBER", SequenceNumber=last)
    return {
        "listed": listed,
        "pages": pages,
        "after_last": streams.get_records(ShardIterator=after_last),
        "first": describe(Limit=1),
        "rest": describe(ExclusiveStartShardId=parent["ShardId"])["Shards"],
    }


# Longest first, so that the last ones do not come alone.
SCENARIOS: dict[str, tuple[Callable[[Scenario], Result], int]] = {
    "away": (away_for_longer_than_the_retention, RACING),
    "busy": (bounded_while_somebody_writes, 1),
    "expiring": (with_iterators_that_always_expire, RACING),
    "roll-overs": (read_over_roll_overs, RACING),
    "killed-sqlite": (killed_again_and_again, RACING),
    "killed-dynamodb": (killed_with_its_checkpoints_in_dynamodb, RACING),
    "early": (killed_before_the_first_checkpoint, RACING),
    "buffer": (killed_between_a_buffer_and_the_write, RACING),
    "disabled": (disabled_then_read, 1),
    "rolled-over": (rolled_over, RACING),
}


def speeds_for(names: Collection[str]) -> set[int]:
    """Of the clocks that they run under."""
    return {SCENARIOS[name][1] for name in names}


class Running:
    """The process with the scenarios, seen from the tests."""

    def __init__(self, names: Collection[str], directory: Path) -> None:
        self._directory = directory
        self._log = directory / "log"
        order = json.dumps({"directory": str(directory), "names": list(names)})
        command = [sys.executable, "-W", "error", "-m", "support.scenarios", order]
        with self._log.open("wb") as log:
            # In a session of its own, to be ended with all its consumers.
            self._process = subprocess.Popen(
                command, cwd=TESTS, stdin=subprocess.PIPE, stderr=log, start_new_session=True
            )

    def result(self, name: str) -> Result:
        """Wait for a scenario's result; fails the test if it has none."""
        deadline = time.monotonic() + LONGEST
        result = self._directory / f"{name}.json"
        while not result.exists():
            if self._process.poll() is not None and not result.exists():
                pytest.fail(f"the scenarios ended with {self._process.returncode}:\n{self._log.read_text()}")
            if time.monotonic() > deadline:
                pytest.fail(f"no result of {name} within {LONGEST:g} s more:\n{self._log.read_text()}")
            time.sleep(0.05)
        answer: Result = json.loads(result.read_text())
        if "failed" in answer:
            pytest.fail(answer["failed"])
        return answer

    def close(self) -> None:
        """End it, finished or not; fails if it said what would have failed a test."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        said = self._log.read_text()
        if "Exception ignored in" in said or "Exception in thread" in said:
            pytest.fail(f"the scenarios said:\n{said}")


def main() -> None:
    """Run the scenarios that standard input's other end wants, until it is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    order = json.loads(sys.argv[1])
    names, directory = order["names"], Path(order["directory"])
    with ExitStack() as stack:
        servers = {
            speed: stack.enter_context(DynamoDBLocal.start(speed)) for speed in sorted(speeds_for(names))
        }
        for server in servers.values():
            server.client("dynamodb")  # before there are threads that would each make one
        run_all(names, servers, directory)


def run_all(names: Collection[str], servers: dict[int, DynamoDBLocal], directory: Path) -> None:
    """Each scenario's result goes to a file by its name."""
    begun = time.monotonic()

    def run(name: str) -> None:
        function, speed = SCENARIOS[name]
        try:
            with closing(Scenario(servers[speed], directory, name)) as scenario:
                result = function(scenario)
        except Exception:  # noqa: BLE001 - for the test to tell
            result = {"failed": traceback.format_exc()}
        print(f"{name} ended at {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
        unfinished = directory / f"{name}.unfinished"
        unfinished.write_text(json.dumps(result, default=str))
        unfinished.rename(directory / f"{name}.json")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(run, [name for name in SCENARIOS if name in names]))


def _end_with_parent() -> None:
    os.read(0, 1)  # until it has ended, however that came
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
