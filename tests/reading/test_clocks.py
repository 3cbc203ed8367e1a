"""Every time is the service's: where its clock and ours differ, ours decides nothing."""

from __future__ import annotations

from datetime import UTC, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from reactivex.testing import TestScheduler
from support.reading import read

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.errors import DecodeError
from rxddbstream.operators.recent import Recent
from rxddbstream.testing import SimulatedStream

skews = st.integers(-290, 290).map(lambda seconds: timedelta(seconds=seconds))


def simulated(ahead: timedelta) -> tuple[SimulatedStream, TestScheduler]:
    scheduler = TestScheduler()
    scheduler.advance_to(1_700_000_000.0)
    return SimulatedStream(scheduler=scheduler, ahead=ahead), scheduler


def write(sim: SimulatedStream, scheduler: TestScheduler, name: str, count: int) -> None:
    for number in range(count):
        sim.put(f"{name}{number}")
        scheduler.advance_by(1)


@settings(max_examples=30, deadline=None)
@given(skews, st.integers(1, 200))
def test_a_start_some_time_ago_is_told_by_the_services_clock(ahead: timedelta, ago: int) -> None:
    sim, scheduler = simulated(ahead)
    write(sim, scheduler, "before", 250)
    reader = read(sim, scheduler, start=timedelta(seconds=ago))
    write(sim, scheduler, "after", 30)
    reader.advance(10)

    names = [change.keys["id"] for change in reader.changes]
    since = names.index("after0")
    assert reader.error is None
    assert ago <= since <= ago + 1
    assert names[since:] == [f"after{number}" for number in range(30)]


@pytest.mark.parametrize("ahead", [timedelta(minutes=-4), timedelta(0), timedelta(minutes=4)])
def test_a_start_at_this_moment_of_our_clock_loses_nothing_that_is_new(ahead: timedelta) -> None:
    sim, scheduler = simulated(ahead)
    reader = read(sim, scheduler, start=scheduler.now.astimezone(UTC))
    write(sim, scheduler, "after", 10)
    reader.advance(10)

    assert reader.error is None
    assert reader.records == sim.records


def test_a_start_that_no_clock_can_mean_lies_in_the_future() -> None:
    sim, scheduler = simulated(timedelta(0))
    start = scheduler.now.astimezone(UTC) + timedelta(minutes=6)
    reader = read(sim, scheduler, start=start)

    assert "lies in the future" in str(reader.error)


# Times ahead of the answer that has them


def put_ahead(sim: SimulatedStream, ahead: timedelta) -> None:
    sim.put("poison")["dynamodb"]["ApproximateCreationDateTime"] += ahead


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([2.0, 600.0, 3600.0, 1e8]), st.booleans(), skews)
def test_a_time_far_ahead_costs_no_window_before_a_restart_or_after_it(
    far: float, alone: bool, ahead: timedelta
) -> None:
    sim, scheduler = simulated(ahead)
    store, counts = rxd.MemoryCheckpoints(), []
    stream = rxd.changes(
        sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon", checkpoints=store
    )
    windowed = stream.pipe(dops.fold_window(dops.tumbling(10), fold=dops.count()))
    with windowed.subscribe(counts.append):
        write(sim, scheduler, "a", 30)
        put_ahead(sim, timedelta(seconds=far))
        if alone:
            scheduler.advance_by(1)
        write(sim, scheduler, "b", 30)
        scheduler.advance_by(30)
    with windowed.subscribe(counts.append):
        write(sim, scheduler, "c", 60)
        scheduler.advance_by(30)

    assert sum(count.value for count in counts) == len(sim.records)
    assert stream.statistics().late == 0


def test_a_bounded_read_goes_past_a_time_far_ahead() -> None:
    sim, scheduler = simulated(timedelta(0))
    put_ahead(sim, timedelta(hours=1))
    scheduler.advance_by(1)
    reader = read(sim, scheduler, start="trim_horizon", follow=False)
    reader.advance(1)
    write(sim, scheduler, "after", 5)
    again = read(sim, scheduler, start="trim_horizon", follow=False)
    again.advance(1)

    assert (reader.completed, again.completed) == (True, True)
    assert again.records == sim.records


def test_what_came_of_late_is_forgotten_though_a_time_lay_far_ahead() -> None:
    sim, scheduler = simulated(timedelta(0))
    recent = Recent[str](ttl=60)

    def take(change: rxd.Change) -> None:
        recent.advance(change)
        recent.add(change.sequence_number)

    with rxd.changes(sim.arn, client=sim.client, scheduler=scheduler).subscribe(take):
        put_ahead(sim, timedelta(days=1))
        write(sim, scheduler, "a", 3)
        scheduler.advance_by(300)
        write(sim, scheduler, "b", 3)
        scheduler.advance_by(10)

    assert len(recent) == 3


@pytest.mark.parametrize("time", [1_700_000_000_123, 1_700_000_000_123.0, 1e300, -1e15])
def test_a_time_that_is_none_ends_the_stream_with_an_error_that_names_the_change(time: float) -> None:
    sim, scheduler = simulated(timedelta(0))
    made = {"eventName": "INSERT", "dynamodb": {"SequenceNumber": "7", "ApproximateCreationDateTime": time}}
    sim.script("GetRecords", {"Records": [made], "NextShardIterator": "x"})
    reader = read(sim, scheduler, start="trim_horizon")
    reader.advance(5)

    assert isinstance(reader.error, DecodeError)
    assert f"change 7 of shard {sim.shards[0].id} has the time {time!r}" in str(reader.error)
    assert "milliseconds" in str(reader.error)
