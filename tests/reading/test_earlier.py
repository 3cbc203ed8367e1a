"""A table whose stream was disabled and enabled again: what the consumer had not read, and what is new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from reactivex import operators as ops
from reactivex.testing import TestScheduler
from support.checkpoints import Own, dynamodb_store, ready
from support.reading import Mortal, ids

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import CheckpointLocked, DataTrimmed, StreamDisabled, TransientError
from rxddbstream.testing import SimulatedStream
from rxddbstream.testing.faults import client_error

HOUR = 3600


class OneTable:
    """The client of a table that has had several streams, of which the newest is found by its name.

    Attributes:
        streams: as simulated, oldest first.
    """

    def __init__(self, scheduler: TestScheduler, **options: Any) -> None:
        self.scheduler = scheduler
        self.streams = [SimulatedStream(scheduler=scheduler, **options)]
        self.refusals: list[Exception | None] = []  # of the next ListStreams calls

    def switch(self, off_for: float = 60.0) -> SimulatedStream:
        """Disable the stream, and enable another one."""
        self.streams[-1].disable()
        self.scheduler.advance_by(off_for)
        self.streams.append(SimulatedStream(scheduler=self.scheduler))
        return self.streams[-1]

    def list_streams(self, **arguments: Any) -> Any:
        if self.refusals and (error := self.refusals.pop(0)) is not None:
            raise error
        answers = [sim.client.list_streams(**arguments) for sim in self.streams]
        return {"Streams": [stream for answer in answers for stream in answer["Streams"]]}

    def describe_stream(self, **arguments: Any) -> Any:
        return self._of(arguments["StreamArn"], "DescribeStream").describe_stream(**arguments)

    def get_shard_iterator(self, **arguments: Any) -> Any:
        return self._of(arguments["StreamArn"], "GetShardIterator").get_shard_iterator(**arguments)

    def get_records(self, **arguments: Any) -> Any:
        return self._of(arguments["ShardIterator"].split("|")[0], "GetRecords").get_records(**arguments)

    def _of(self, arn: str, operation: str) -> Any:
        for sim in self.streams:
            if sim.arn == arn:
                return sim.client
        raise client_error("ResourceNotFoundException", operation)


class Run:
    """A subscription to the table by its name."""

    def __init__(self, table: OneTable, store: Any, *operators: Any, stream: str = "orders", **options: Any):
        self.changes: list[Any] = []
        self.events: list[Any] = []
        self.errors: list[Exception] = []
        self.completed: list[bool] = []
        self.source = rxd.changes(
            stream,
            client=table,
            scheduler=table.scheduler,
            checkpoints=store,
            events=self.events.append,
            **options,
        )
        self.subscription = self.source.pipe(*operators).subscribe(
            self.changes.append, self.errors.append, lambda: self.completed.append(True)
        )

    @property
    def keys(self) -> list[str]:
        return [change.keys["id"] for change in self.changes]

    @property
    def gaps(self) -> list[rxd.Gap]:
        return [event for event in self.events if isinstance(event, rxd.Gap)]


@pytest.fixture
def scheduler() -> TestScheduler:
    scheduler = TestScheduler()
    scheduler.advance_to(1_000_000.0)
    return scheduler


@pytest.fixture
def table(scheduler: TestScheduler) -> OneTable:
    return OneTable(scheduler)


class OfMany(rxd.MemoryCheckpoints):
    """One of somebody's own, with no more than the protocol has."""


@pytest.fixture(params=["memory", "own", "sqlite", "dynamodb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    match request.param:
        case "memory":
            yield rxd.MemoryCheckpoints()
        case "own":
            yield OfMany()
        case "sqlite":
            yield rxd.SqliteCheckpoints(tmp_path / "positions.db")
        case "dynamodb":
            with mock_aws():
                made = dynamodb_store(boto3.client("dynamodb", region_name="us-east-1"))
                ready(made, "another stream")
                yield made


def reading_until_away(table: OneTable, store: Any, **options: Any) -> Run:
    """A first run, which has read `a`, and has gone when `b` is written."""
    run = Run(table, store, **options)
    table.streams[0].put("a")
    table.scheduler.advance_by(10)
    run.subscription.dispose()
    assert (run.keys, run.errors) == (["a"], [])
    table.streams[0].put("b")
    return run


@pytest.mark.parametrize("start", ["latest", "trim_horizon"])
def test_what_is_left_of_the_old_stream_comes_first_and_then_all_of_the_new_one(
    table: OneTable, store: Any, start: str
) -> None:
    reading_until_away(table, store, start=start)
    new = table.switch()
    new.put("c"), new.put("d")
    table.scheduler.advance_by(10)

    run = Run(table, store, start=start)
    table.scheduler.advance_by(60)
    new.put("e")
    table.scheduler.advance_by(10)
    run.subscription.dispose()

    assert (run.keys, run.errors, run.gaps) == (["b", "c", "d", "e"], [], [])
    new.put("f")
    again = Run(table, store, start=start)
    asked = table.streams[0].calls.total()
    table.scheduler.advance_by(60)
    again.subscription.dispose()
    assert (again.keys, again.errors) == (["f"], [])
    assert table.streams[0].calls.total() == asked  # nothing is left there


@pytest.mark.parametrize("was_there", [True, False])
def test_several_streams_are_read_in_the_order_in_which_they_were_enabled(
    table: OneTable, was_there: bool
) -> None:
    store = rxd.MemoryCheckpoints()
    reading_until_away(table, store)
    table.switch().put("c")
    if was_there:  # and is cut off at once
        Run(table, store).subscription.dispose()
    table.switch().put("d")

    run = Run(table, store)
    table.scheduler.advance_by(60)

    assert (run.keys, run.errors) == (["b", "c", "d"], [])
    run.subscription.dispose()


def test_a_bounded_read_has_both_as_well(table: OneTable) -> None:
    store = rxd.MemoryCheckpoints()
    reading_until_away(table, store)
    table.switch().put("c")

    run = Run(table, store, follow=False)
    table.scheduler.advance_by(120)

    assert (run.keys, run.errors, run.completed) == (["b", "c"], [], [True])


@pytest.mark.parametrize("way", ["name", "table's ARN"])
def test_the_table_may_be_given_by_its_arn(table: OneTable, way: str) -> None:
    stream = "orders" if way == "name" else table.streams[0].arn.partition("/stream/")[0]
    store = rxd.MemoryCheckpoints()
    reading_until_away(table, store)
    table.switch().put("c")

    run = Run(table, store, stream=stream)
    table.scheduler.advance_by(60)
    run.subscription.dispose()

    assert run.keys == ["b", "c"]


def test_a_stream_that_is_given_by_its_own_arn_is_read_alone(table: OneTable) -> None:
    store = rxd.MemoryCheckpoints()
    reading_until_away(table, store)
    new = table.switch()
    new.put("c")

    run = Run(table, store, stream=new.arn)
    new.put("d")
    table.scheduler.advance_by(60)
    run.subscription.dispose()

    assert run.keys == ["d"]  # from "latest"


def test_a_stream_that_ends_under_a_reader_is_followed_by_the_next_run(table: OneTable) -> None:
    store = rxd.MemoryCheckpoints()
    first = Run(table, store)
    table.scheduler.advance_by(10)
    table.streams[0].put("a")
    new = table.switch(off_for=0.5)
    new.put("b")
    table.scheduler.advance_by(120)
    assert first.keys == ["a"]
    assert isinstance(first.errors[0], StreamDisabled)
    assert "subscribe to the table again" in str(first.errors[0])

    run = Run(table, store)
    table.scheduler.advance_by(60)
    run.subscription.dispose()

    assert (run.keys, run.errors, run.gaps) == (["b"], [], [])


def test_an_old_stream_that_is_gone_is_a_gap_each_time_until_it_is_skipped(
    table: OneTable, store: Any
) -> None:
    first = reading_until_away(table, store)
    table.switch(off_for=HOUR).put("c")
    del table.streams[0]

    for _ in range(2):
        strict = Run(table, store)
        table.scheduler.advance_by(60)
        strict.subscription.dispose()
        [error] = strict.errors
        assert isinstance(error, DataTrimmed)
        assert (error.shard_id, error.after) == (
            first.changes[0].shard_id,
            first.changes[0].sequence_number,
        )
        assert strict.keys == []

    lenient = Run(table, store, on_gap="skip")
    table.scheduler.advance_by(60)
    lenient.subscription.dispose()
    assert (lenient.keys, lenient.errors, len(lenient.gaps)) == (["c"], [], 1)
    again = Run(table, store)
    table.scheduler.advance_by(60)
    again.subscription.dispose()
    assert (again.keys, again.errors, again.gaps) == ([], [], [])


def test_what_the_new_stream_has_dropped_is_a_gap(table: OneTable) -> None:
    store = rxd.MemoryCheckpoints()
    reading_until_away(table, store)
    new = table.switch()
    new.put("lost")
    table.scheduler.advance_by(25 * HOUR)
    new.put("c")

    run = Run(table, store, on_gap="skip")
    table.scheduler.advance_by(60)
    run.subscription.dispose()

    assert run.keys == ["c"]
    of_the_old, of_the_new = run.gaps
    assert "in a shard that is gone" in of_the_old.reason
    assert "was not asked for in the 24 hours" in of_the_new.reason


def test_what_is_held_of_the_old_stream_is_read_again_before_the_new_one(table: OneTable) -> None:
    store = rxd.MemoryCheckpoints()
    reading_until_away(table, store)
    new = table.switch()
    holding = Run(table, store, dops.hold())  # and never released
    table.scheduler.advance_by(60)
    new.put("c")
    table.scheduler.advance_by(10)
    assert holding.keys == ["b", "c"]
    holding.subscription.dispose()

    run = Run(table, store)
    table.scheduler.advance_by(60)
    run.subscription.dispose()

    assert run.keys == ["b", "c"]


def test_what_is_released_after_the_old_stream_has_ended_counts_as_done(table: OneTable) -> None:
    store = rxd.MemoryCheckpoints()
    reading_until_away(table, store)
    new = table.switch()
    buffered = Run(table, store, dops.hold(), ops.buffer_with_count(2), dops.release())
    table.scheduler.advance_by(60)
    new.put("c")
    table.scheduler.advance_by(10)
    buffered.subscription.dispose()

    run = Run(table, store)
    table.scheduler.advance_by(60)
    run.subscription.dispose()

    assert run.keys == []


def test_windows_go_on_from_one_stream_into_the_other(table: OneTable) -> None:
    store = rxd.MemoryCheckpoints()
    reading_until_away(table, store)
    new = table.switch(off_for=5)
    for second in range(30):
        new.put(f"n-{second}")
        table.scheduler.advance_by(1)

    run = Run(table, store, dops.fold_window(dops.tumbling(10), fold=dops.count()))
    table.scheduler.advance_by(120)
    counted = [result.value for result in run.changes]
    run.subscription.dispose()

    assert sum(counted) == 31
    assert run.source.statistics().late == 0
    assert run.source.statistics().watermark is not None


def test_who_disposes_while_the_old_stream_is_read_leaves_both_to_the_next_run(table: OneTable) -> None:
    store = rxd.MemoryCheckpoints()
    reading_until_away(table, store)
    table.switch().put("c")
    for _ in range(3):
        Run(table, store).subscription.dispose()

    run = Run(table, store)
    table.scheduler.advance_by(60)
    run.subscription.dispose()

    assert run.keys == ["b", "c"]


def test_an_error_of_the_old_streams_reading_ends_it(table: OneTable) -> None:
    store = rxd.MemoryCheckpoints()
    reading_until_away(table, store)
    table.switch().put("c")
    table.streams[0].script("GetRecords", "AccessDeniedException")

    run = Run(table, store)
    table.scheduler.advance_by(60)

    assert [type(error).__name__ for error in run.errors] == ["AccessDenied"]
    again = Run(table, store)
    table.scheduler.advance_by(60)
    again.subscription.dispose()
    assert again.keys == ["b", "c"]


@pytest.mark.parametrize("error", [TransientError("busy"), CheckpointLocked("elsewhere"), OSError("full")])
def test_a_store_that_fails_while_it_is_asked_for_earlier_streams(table: OneTable, error: Exception) -> None:
    store = Own()
    store.fail["load"] = [error]

    run = Run(table, store, start="trim_horizon")
    table.streams[0].put("a")
    table.scheduler.advance_by(30)

    assert bool(run.errors) is not isinstance(error, TransientError)
    run.subscription.dispose()


def test_a_store_that_does_not_look_at_the_streams_name_works(table: OneTable) -> None:
    store = Own()
    reading_until_away(table, store)

    run = Run(table, store)
    table.scheduler.advance_by(30)
    run.subscription.dispose()

    assert (run.keys, run.errors) == (["b"], [])


def test_without_checkpoints_a_table_is_read_from_the_start_that_was_asked_for(table: OneTable) -> None:
    table.streams[0].put("a")
    new = table.switch()
    new.put("b")

    run = Run(table, None)
    new.put("c")
    table.scheduler.advance_by(60)
    run.subscription.dispose()

    assert ids([change.record for change in run.changes]) == ids(new.records[1:])


def test_a_stream_in_between_is_not_looked_for_where_that_is_not_allowed(
    table: OneTable, caplog: pytest.LogCaptureFixture
) -> None:
    store = rxd.MemoryCheckpoints()
    reading_until_away(table, store)
    table.switch().put("unknown")
    table.switch().put("c")
    table.refusals = [None, client_error("AccessDeniedException", "ListStreams")]

    run = Run(table, store)
    table.scheduler.advance_by(60)
    run.subscription.dispose()

    assert (run.keys, run.errors) == (["b", "c"], [])
    assert "in between is not looked for" in caplog.text


@given(
    st.lists(
        st.one_of(
            st.just("write"),
            st.just("switch"),
            st.just("roll over"),
            st.tuples(st.sampled_from(["leave", "die"]), st.floats(0, 20)),
        ),
        max_size=15,
    )
)
def test_whatever_is_written_comes_in_order_however_streams_and_runs_alternate(steps: list[Any]) -> None:
    scheduler = TestScheduler()
    scheduler.advance_to(1_000_000.0)
    table, kept = OneTable(scheduler), rxd.MemoryCheckpoints()
    written, seen = 0, []

    def run(seconds: float, dies: bool) -> None:
        store = Mortal(kept)
        reading = Run(table, store, start="trim_horizon")
        scheduler.advance_by(seconds)
        store.alive = not dies
        reading.subscription.dispose()
        assert reading.errors == []
        seen.extend(int(change.new_image["n"]) for change in reading.changes)

    run(0, dies=False)  # who was never there has missed nothing
    for step in steps:
        if step == "write":
            table.streams[-1].put("item", n=written)
            written += 1
        elif step == "switch":
            table.switch()
        elif step == "roll over":
            table.streams[-1].roll_over()
        else:
            run(step[1], dies=step[0] == "die")
    run(60.0 * len(table.streams), dies=False)

    assert list(dict.fromkeys(seen)) == list(range(written))
