"""When the service is asked for shards: the pace of a long listing, the next listing, missing children."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from reactivex import Observer
from reactivex.testing import TestScheduler
from support.interleaving import at_once
from support.reading import read

import rxddbstream as rxd
from rxddbstream.aws.client import StreamClient
from rxddbstream.protocol.beginning import Kept
from rxddbstream.reading.calls import Calls
from rxddbstream.reading.discovery import ASK_AGAIN_CEILING, Discovery
from rxddbstream.reading.earlier import EarlierStreams
from rxddbstream.reading.events import EventSink
from rxddbstream.reading.options import ReadOptions
from rxddbstream.reading.statistics import Counts
from rxddbstream.scheduling.clock import SteadyClock
from rxddbstream.testing import SimulatedStream, build_shards

BEGAN = 1_000_000.0


@pytest.fixture
def scheduler():
    scheduler = TestScheduler()
    scheduler.advance_to(BEGAN)
    return scheduler


class Asked:
    """The calls of DescribeStream: when each was made, and of which shard it asked for the children."""

    def __init__(self, sim, scheduler):
        self.listings, self.children = [], []
        self._scheduler = scheduler
        sim.before_call = self._note

    def _note(self, operation, arguments):
        if operation == "DescribeStream":
            filtered = arguments.get("ShardFilter")
            time = round(self._scheduler.now.timestamp() - BEGAN, 2)
            if filtered is None:
                self.listings.append(time)
            else:
                self.children.append((time, filtered["ShardId"]))


def test_of_a_listing_of_many_pages_ten_are_asked_for_a_second(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=50, listing_page_size=2)
    asked = Asked(sim, scheduler)
    reader = read(sim, scheduler)
    scheduler.advance_by(30)
    assert asked.listings == [0.0] * 10 + [1.0] * 10 + [2.0] * 5
    assert len(reader.shards_opened()) == 50


def test_all_shards_are_listed_once_a_minute(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    asked = Asked(sim, scheduler)
    read(sim, scheduler)
    scheduler.advance_by(200)
    assert asked.listings == pytest.approx([0, 60, 120, 180], abs=0.5)
    assert asked.children == []


def test_a_missing_child_is_asked_for_at_intervals_that_double_up_to_ten_seconds(scheduler):
    sim = SimulatedStream(scheduler=scheduler, listing_delay=1000.0)
    asked = Asked(sim, scheduler)
    read(sim, scheduler, start="trim_horizon", poll=rxd.Poll(fastest=0.1, slowest=0.1))
    scheduler.advance_by(5)
    sim.roll_over()
    scheduler.advance_by(50)
    times = [time for time, _ in asked.children]
    assert times[0] == pytest.approx(5.1, abs=0.2)  # at once
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert waits[:7] == pytest.approx([0.5, 1, 2, 4, 8, 10, 10], abs=0.1)
    assert ASK_AGAIN_CEILING == 10


@pytest.mark.parametrize("ended", [3, 4])
def test_children_of_up_to_three_shards_are_asked_for_by_name_those_of_more_by_a_listing(scheduler, ended):
    sim = SimulatedStream(scheduler=scheduler, shards=ended, listing_delay=0.3)
    names = {shard.id for shard in sim.shards}
    sim.roll_over()
    asked = Asked(sim, scheduler)
    reader = read(sim, scheduler, start="trim_horizon")
    scheduler.advance_by(10)
    assert len(reader.shards_opened()) == 2 * ended
    if ended == 3:
        assert {shard_id for _, shard_id in asked.children} == names
        assert asked.listings == [0.0]
    else:
        assert asked.children == []
        assert len(asked.listings) > 1


class Opened:
    """An outlet that reads nothing."""

    def __init__(self):
        self.shards = []

    def load(self, client):
        return Kept()

    def earlier(self, client):
        return ()

    def begin(self, beginning, first, ended):
        self.tell_ended = ended

    def expect_more(self, expects):
        pass

    def open(self, ready):
        self.shards += [each.shard for each in ready]

    def forget(self, shard_ids):
        assert not shard_ids

    def close(self):
        pass


def test_the_children_of_a_shard_that_ends_while_discovery_hands_on_what_is_ready_are_opened_once():
    def make():
        scheduler = TestScheduler()
        scheduler.advance_to(BEGAN)
        sim = SimulatedStream(scheduler=scheduler, shards=build_shards(3, "tree"))
        options = ReadOptions("trim_horizon", True, None, "raise", None, rxd.Poll(), scheduler)
        outlet, failed = Opened(), []
        clock = SteadyClock(lambda: scheduler.now.timestamp())
        calls = Calls(options.poll, EventSink(None, failed.append), Counts(), clock)
        client = StreamClient(sim.client, sim.arn, lambda: datetime.now(UTC))
        observer = Observer(on_error=failed.append)
        none_before = EarlierStreams(lambda *_: pytest.fail("there is none"), observer)
        discovery = Discovery(lambda: client, options, calls, outlet, observer, none_before)
        discovery.run(scheduler)
        [root] = outlet.shards

        def check():
            scheduler.advance_by(10)
            assert failed == []
            assert sorted(shard.id for shard in outlet.shards) == [shard.id for shard in sim.shards]

        return lambda: outlet.tell_ended(root, False), lambda: scheduler.advance_by(61), check

    at_once(make)
