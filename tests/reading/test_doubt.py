"""When a shard that is denied is believed to be gone."""

from __future__ import annotations

from datetime import timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from reactivex.testing import TestScheduler
from support.reading import StaleListing, by_item, read

import rxddbstream as rxd
from rxddbstream.testing import SimulatedStream, build_shards
from rxddbstream.testing.faults import client_error


class Denied(StaleListing):
    """A listing that lacks a shard for a while, whose iterator is denied for the first few times."""

    def __init__(self, sim, scheduler, shard_id, *, hidden_for, denials):
        super().__init__(sim, scheduler, hidden={shard_id: scheduler.now.timestamp() + hidden_for})
        self._shard_id = shard_id
        self._denials = denials

    def get_shard_iterator(self, **arguments):
        if arguments["ShardId"] == self._shard_id and self._denials:
            self._denials -= 1
            raise client_error("ResourceNotFoundException", "GetShardIterator")
        return self._sim.client.get_shard_iterator(**arguments)


@pytest.fixture
def scheduler():
    scheduler = TestScheduler()
    scheduler.advance_to(1_700_000_000.0)
    return scheduler


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 15), st.integers(0, 4), st.integers(0, 2), st.booleans())
def test_a_parent_that_is_denied_for_a_moment_comes_before_its_child(
    hidden_for: float, denials: int, which: int, follow: bool
) -> None:
    scheduler = TestScheduler()
    scheduler.advance_to(1_700_000_000.0)
    sim = SimulatedStream(scheduler=scheduler)
    shards = [sim.shards[0].id]
    for number in range(15):
        sim.put("x", n=number)
        if number % 5 == 4:
            shards.append(sim.roll_over()[0].id)
    client = Denied(sim, scheduler, shards[which], hidden_for=hidden_for, denials=denials)
    reader = read(sim, scheduler, client=client, start="trim_horizon", follow=follow)
    reader.advance(120)

    assert reader.error is None
    assert reader.by_item() == by_item(sim.records)


def test_an_orphan_is_read_when_its_parent_was_denied_for_long(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=build_shards(2, "chain")[1:])
    sim.put("a")
    reader = read(sim, scheduler, start="trim_horizon")
    reader.advance(19)
    assert reader.records == []
    reader.advance(15)

    assert reader.records == sim.records


def test_what_follows_a_shard_that_was_read_and_is_gone_is_read_at_once(scheduler):
    sim = SimulatedStream(scheduler=scheduler, retention=timedelta(seconds=60))
    sim.put("a", n=0)
    reader = read(sim, scheduler, start="trim_horizon", on_gap="skip")
    reader.advance(1)
    sim.roll_over()
    sim.trim()
    for number in range(3):
        sim.put("a", n=number)
    reader.advance(8)

    assert [type(event) for event in reader.events if isinstance(event, rxd.Gap)] == [rxd.Gap]
    assert reader.records[1:] == sim.records[1:]
