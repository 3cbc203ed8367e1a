"""Real processes, killed at any moment, over DynamoDB Local with a racing clock.

The clock runs 1,200 times as fast: a shard is rolled over every 12 s, an iterator lives for 0.75 s, a change
for 72 s. All scenarios run at the same time, each on a table of its own, because one of them has to wait for
changes to be thrown away.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dynamodb_local import DynamoDBLocal

from rxddbstream.core.checkpoint import from_text
from rxddbstream.core.position import After

pytestmark = pytest.mark.timeout(300)

CONSUMER = Path(__file__).with_name("consumer.py")
KILLS = 10
RATE = 50
PERIOD = 0.5
RETENTION = 72.0
ITEMS = 10
ENDED = 10**40  # stands for a shard's end, beyond any sequence number


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
        self.join(30)
        if self.error is not None:
            raise self.error
        return self.written


@dataclass
class Scenario:
    """One table, its writer, one consumer with its output."""

    server: DynamoDBLocal
    directory: Path
    table: str
    options: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None
    writer: Writer | None = None
    started: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.create_table(self.table)
        self.checkpoint = self.directory / f"{self.table}.db"
        self.output = self.directory / f"{self.table}.jsonl"
        self.errors = self.directory / f"{self.table}.err"
        self.output.touch()

    def start(self, *options: str) -> None:
        command = [sys.executable, CONSUMER, self.table, self.server.endpoint_url, self.output]
        now = time.time()
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen([*command, *self.options, *options], stderr=errors)
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

    def lines(self) -> list[dict[str, Any]]:
        # The last one may be half written, by a process that lives.
        whole = self.output.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line.get("event") == name]

    def runs(self) -> list[list[dict[str, Any]]]:
        """What each process has delivered."""
        runs: dict[int, list[dict[str, Any]]] = {pid: [] for pid, _ in self.started}
        for line in self.lines():
            if "n" in line:
                runs[line["pid"]].append(line)
        return list(runs.values())

    def delivered(self) -> set[int]:
        return {line["n"] for line in self.lines() if "n" in line}

    def wait_for(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process is not None
            if self.process.poll() is not None:
                pytest.fail(f"the consumer of {self.table} has ended: {self.errors.read_text()}")
            if time.monotonic() > deadline:
                pytest.fail(f"{self.table}: not within {seconds} s; {self.lines()[-3:]}")
            time.sleep(0.2)

    def read_the_rest(self, writer: Writer) -> int:
        """Wait until the consumer has what was written, and end it; how many there were."""
        total = writer.stop()
        self.wait_for(lambda: {total - 1} <= self.delivered())
        time.sleep(1.0)  # the last one of each shard and item
        self.kill()
        return total


@dataclass
class Outcome:
    """What a scenario has come to."""

    total: int
    runs: list[list[dict[str, Any]]]
    events: list[dict[str, Any]]
    started: list[tuple[int, float]]
    more: dict[str, Any]

    @classmethod
    def of(cls, scenario: Scenario, total: int, **more: Any) -> Outcome:
        events = [line for line in scenario.lines() if "event" in line]
        return cls(total, scenario.runs(), events, scenario.started, more)

    @property
    def numbers(self) -> list[int]:
        return [line["n"] for run in self.runs for line in run]

    @property
    def duplicates(self) -> int:
        return len(self.numbers) - len(set(self.numbers))

    def replays(self) -> list[int]:
        """For each process but the first, how many of its changes an earlier one had delivered."""
        seen: set[int] = set()
        replays = []
        for run in self.runs:
            numbers = [line["n"] for line in run]
            replays.append(len(seen.intersection(numbers)))
            seen.update(numbers)
        return replays[1:]

    def seconds_to_resume(self) -> list[float]:
        """From the start of a process to its first change."""
        return [run[0]["time"] - at for (_, at), run in zip(self.started, self.runs, strict=True) if run]

    def kept(self) -> dict[str, int | None]:
        """The sequence numbers in the checkpoints of the first process."""
        return self._kept(self.started[0][0])

    def _kept(self, *pids: int) -> dict[str, int | None]:
        kept = {}
        for event in self.events:
            if event["event"] == "Checkpointed" and event["pid"] in pids:
                for shard_id, text in event["positions"].items():
                    position = from_text(text)
                    kept[shard_id] = int(position.sequence_number) if isinstance(position, After) else None
                    if position is None:
                        kept[shard_id] = ENDED
        return kept

    def assert_nothing_checkpointed_came_again(self) -> None:
        pids = [pid for pid, _ in self.started]
        for number, run in enumerate(self.runs):
            kept = self._kept(*pids[:number])
            for line in run:
                assert int(line["sequence_number"]) > (kept.get(line["shard_id"]) or 0), line

    def assert_in_order_without_a_hole(self) -> None:
        """In one process each item counts up without a hole; the next one goes on at most there."""
        expected = {f"item-{number}": number for number in range(ITEMS)}
        for run in self.runs:
            first = set()
            for line in run:
                item, number = line["item"], line["n"]
                if item not in first:
                    first.add(item)
                    assert number <= expected[item], f"a hole before {line}"
                else:
                    assert number == expected[item], f"out of order: {line}"
                expected[item] = number + ITEMS


def killed_again_and_again(scenario: Scenario) -> Outcome:
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
    return Outcome.of(scenario, scenario.read_the_rest(writer))


def killed_before_the_first_checkpoint(scenario: Scenario) -> Outcome:
    """From "latest", with a period that never comes round; down while shards roll over."""
    scenario.start("--period", "1000", "--count", "1000000")
    writer = scenario.start_writing(20)
    scenario.wait_for(lambda: len(scenario.delivered()) >= 20)
    scenario.kill()
    before = len(scenario.delivered())
    time.sleep(15)
    scenario.start()
    return Outcome.of(scenario, scenario.read_the_rest(writer), before=before)


def with_iterators_that_always_expire(scenario: Scenario) -> Outcome:
    """Polled more seldom than iterators live."""
    scenario.start("--fastest", "1.0", "--slowest", "1.5")
    writer = scenario.start_writing(5)
    time.sleep(40)
    return Outcome.of(scenario, scenario.read_the_rest(writer))


def killed_between_a_buffer_and_the_write(scenario: Scenario) -> Outcome:
    """A hundred changes are held together; the process dies with the third hundred in its hands."""
    scenario.start("--batch", "100", "--die-in-batch", "3")
    writer = scenario.start_writing()
    assert scenario.process is not None
    scenario.process.wait(60)
    scenario.start("--batch", "100")
    time.sleep(5)
    total = writer.stop()
    scenario.wait_for(lambda: len(scenario.delivered()) > total - 100)
    time.sleep(1)
    scenario.kill()
    return Outcome.of(scenario, total)


def away_for_longer_than_the_retention(scenario: Scenario) -> Outcome:
    """Then once with each policy, and on the command line, all from the same checkpoint."""
    scenario.start()
    writer = scenario.start_writing(4)
    scenario.wait_for(lambda: len(scenario.delivered()) >= 10)
    time.sleep(2 * PERIOD)
    scenario.kill()
    time.sleep(RETENTION + 16)
    copies = {name: scenario.directory / f"{name}.db" for name in ("raise", "command")}
    for copy in copies.values():
        for suffix in ("", "-wal"):
            shutil.copy(f"{scenario.checkpoint}{suffix}", f"{copy}{suffix}")
    command = [sys.executable, "-m", "rxddbstream", scenario.table, "--format", "json", "--no-follow"]
    where = ["--endpoint-url", scenario.server.endpoint_url, "--checkpoint", str(copies["command"])]
    shell = subprocess.run([*command, *where], capture_output=True, text=True, timeout=60)
    again = subprocess.run([*command, *where], capture_output=True, text=True, timeout=60)
    scenario.start("--sqlite", str(copies["raise"]), "--on-gap", "raise")
    assert scenario.process is not None
    status = scenario.process.wait(60)
    scenario.start("--on-gap", "skip")
    scenario.wait_for(lambda: scenario.runs()[-1])
    total = scenario.read_the_rest(writer)
    return Outcome.of(scenario, total, shell=shell, again=again, status=status)


SCENARIOS: dict[str, tuple[Callable[[Scenario], Outcome], str]] = {
    "killed-sqlite": (killed_again_and_again, "sqlite"),
    "killed-dynamodb": (killed_again_and_again, "dynamodb"),
    "early": (killed_before_the_first_checkpoint, "sqlite"),
    "expiring": (with_iterators_that_always_expire, "sqlite"),
    "buffer": (killed_between_a_buffer_and_the_write, "sqlite"),
    "away": (away_for_longer_than_the_retention, "sqlite"),
}


@pytest.fixture(scope="module")
def outcomes(
    racing_dynamodb_local: DynamoDBLocal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Outcome]]]:
    """All scenarios, at the same time; over when the longest of them is."""
    directory = tmp_path_factory.mktemp("crashes")
    scenarios = {}
    for name, (_, store) in SCENARIOS.items():
        where = str(directory / f"{name}.db") if store == "sqlite" else "checkpoints"
        options = (f"--{store}", where, "--period", str(PERIOD))
        scenarios[name] = Scenario(racing_dynamodb_local, directory, name, options)
    try:
        with ThreadPoolExecutor(len(scenarios)) as pool:
            yield {name: pool.submit(SCENARIOS[name][0], scenarios[name]) for name in scenarios}
    finally:
        for scenario in scenarios.values():
            if scenario.process is not None:
                scenario.kill()
            if scenario.writer is not None:
                scenario.writer.stop()


@pytest.fixture
def outcome(request: pytest.FixtureRequest, outcomes: dict[str, Future[Outcome]]) -> Outcome:
    return outcomes[request.param].result(timeout=240)


def of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("outcome", names, indirect=True)


@of("expiring")
def test_iterators_that_expire_all_the_time_lose_nothing(outcome):
    assert sorted(outcome.numbers) == list(range(outcome.total))
    outcome.assert_in_order_without_a_hole()


@of("early")
def test_killed_before_the_first_checkpoint_the_downtime_is_not_skipped(outcome):
    first, second = outcome.runs
    assert len(first) == outcome.more["before"]
    assert [line["n"] for line in second if line["n"] < 20]  # from where "latest" was, not from the kill
    assert set(outcome.numbers) == set(range(outcome.total))
    outcome.assert_in_order_without_a_hole()
    assert outcome.replays() == [len(first)]


@of("buffer")
def test_what_was_buffered_and_not_written_comes_again(outcome):
    [dying] = [event for event in outcome.events if event["event"] == "Dying"]
    first, second = outcome.runs
    assert (len(dying["numbers"]), len(first)) == (100, 200)
    again = {line["n"] for line in second}
    assert set(dying["numbers"]) <= again
    missing = set(range(outcome.total)) - set(outcome.numbers)
    assert len(missing) < 100  # the last buffer was not full
    outcome.assert_in_order_without_a_hole()
    # The two hundred that were written were released, and checkpointed; of several shards, all but a few.
    assert outcome.replays() == [0]


@of("killed-sqlite", "killed-dynamodb")
def test_killed_ten_times_nothing_is_lost_and_little_comes_twice(outcome, record_testsuite_property, request):
    assert len(outcome.runs) == KILLS + 1
    assert set(outcome.numbers) == set(range(outcome.total))
    outcome.assert_in_order_without_a_hole()
    figures = {
        "written": outcome.total,
        "duplicates after each kill": outcome.replays(),
        "seconds to resume": [round(seconds, 2) for seconds in outcome.seconds_to_resume()],
    }
    print(request.node.name, figures)
    outcome.assert_nothing_checkpointed_came_again()
    assert outcome.duplicates <= KILLS * 2 * RATE  # half a second each, and what waited while it was down


@of("away")
def test_away_for_longer_than_the_retention_is_told(outcome):
    events, kept = outcome.events, outcome.kept()
    raising, skipping = (pid for pid, _ in outcome.started[1:])
    # "raise" ends with the place.
    [trimmed] = [event for event in events if event["event"] == "DataTrimmed"]
    assert (trimmed["pid"], outcome.more["status"]) == (raising, 1)
    gaps = [event for event in events if event["event"] == "Gap"]
    lost = [(gap["shard_id"], gap["after"]) for gap in gaps if gap["pid"] == skipping]
    assert kept[trimmed["shard_id"]] == int(trimmed["after"])
    assert trimmed["shard_id"] in trimmed["message"]
    assert trimmed["after"] in trimmed["message"]
    # "skip" tells of the same, and goes on with what is left, in order.
    assert (trimmed["shard_id"], trimmed["after"]) in lost
    first, _, last = ([line["n"] for line in run] for run in outcome.runs)
    assert first == list(range(len(first)))
    assert last == list(range(last[0], outcome.total))
    assert len(first) < last[0]


@of("away")
def test_the_command_line_tells_of_lost_changes_once(outcome):
    shell, again = outcome.more["shell"], outcome.more["again"]
    assert shell.returncode == 3, shell.stderr
    assert "rxddbstream: warning: changes of shard " in shell.stderr
    places = {int(number) for number in re.findall(r"what follows (\d+)", shell.stderr)}
    assert places & set(outcome.kept().values())
    numbers = [json.loads(line)["new_image"]["n"] for line in shell.stdout.splitlines()]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] > len(outcome.runs[0])
    # The next run goes on after that, and has nothing to warn of.
    assert again.returncode == 0, again.stderr
    assert all(json.loads(line)["new_image"]["n"] > numbers[-1] for line in again.stdout.splitlines())
