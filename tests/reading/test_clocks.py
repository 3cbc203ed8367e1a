"""Every time is the service's: where its clock and ours differ, ours decides nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from reactivex.testing import TestScheduler
from support.reading import read

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


def test_an_answer_of_the_simulation_has_its_time() -> None:
    sim, _ = simulated(timedelta(minutes=-4))

    told = sim.client.describe_stream(StreamArn=sim.arn)["ResponseMetadata"]["HTTPHeaders"]["date"]

    now = datetime.fromtimestamp(1_700_000_000 - 240, UTC)
    assert told == now.strftime("%a, %d %b %Y %H:%M:%S GMT")
