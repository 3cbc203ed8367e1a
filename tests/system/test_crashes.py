"""Real processes, killed at any moment, over DynamoDB Local with a racing clock; see `scenarios.py`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
from support.scenarios import ITEMS, KILLS, RATE, Result

from rxddbstream.checkpoints.codec import from_text
from rxddbstream.model.position import After

ENDED = 10**40  # stands for a shard's end, beyond any sequence number


@dataclass
class Outcome:
    """What a scenario has come to."""

    total: int
    runs: list[list[dict[str, Any]]]
    events: list[dict[str, Any]]
    started: list[tuple[int, float]]
    more: dict[str, Any]

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


@pytest.fixture
def outcome(scenario: Result) -> Outcome:
    return Outcome(**scenario)


def of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scenario", names, indirect=True)


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
    assert shell["status"] == 3, shell["stderr"]
    assert "rxddbstream: warning: changes of shard " in shell["stderr"]
    places = {int(number) for number in re.findall(r"what follows (\d+)", shell["stderr"])}
    assert places & set(outcome.kept().values())
    numbers = [json.loads(line)["new_image"]["n"] for line in shell["stdout"].splitlines()]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] > len(outcome.runs[0])
    # The next run goes on after that, and has nothing to warn of.
    assert again["status"] == 0, again["stderr"]
    assert all(json.loads(line)["new_image"]["n"] > numbers[-1] for line in again["stdout"].splitlines())
