"""What a stream says of its own reading: counts, lag, watermark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import pytest
from reactivex.testing import TestScheduler

import rxddbstream as rxd
from rxddbstream.model.times import SETTLING
from rxddbstream.protocol.tip import QUIET_FOR
from rxddbstream.reading.progress import Progress
from rxddbstream.reading.statistics import Counts, HowFar
from rxddbstream.testing import Faults, SimulatedStream

BEGAN = datetime.fromtimestamp(1_000_000, UTC)


@pytest.fixture
def scheduler():
    scheduler = TestScheduler()
    scheduler.advance_to(BEGAN.timestamp())
    return scheduler


def stream_of(sim, scheduler, **options):
    options = {"start": "trim_horizon", "scheduler": scheduler, **options}
    return rxd.changes(sim.arn, client=sim.client, **options)


def test_before_anybody_subscribes_there_is_nothing():
    assert rxd.changes("orders").statistics() == rxd.Statistics()


def test_records_bytes_and_calls_are_counted(scheduler):
    sim = SimulatedStream(scheduler=scheduler, page_size=2)
    size = sum(sim.put(f"o-{n}")["dynamodb"]["SizeBytes"] for n in range(3))
    stream = stream_of(sim, scheduler)
    with stream.subscribe(lambda _: None):
        scheduler.advance_by(1)
        statistics = stream.statistics()

    assert (statistics.records, statistics.bytes) == (3, size)
    assert statistics.calls == sim.calls["GetRecords"]
    assert statistics.empty_calls == statistics.calls - 2
    assert statistics.retries == 0


def test_a_record_that_does_not_tell_its_size_counts_with_none():
    counts = Counts()
    counts.answered([{"dynamodb": {"SizeBytes": 26}}, {"dynamodb": {}}, {}, {"dynamodb": None}])
    assert (counts.statistics().records, counts.statistics().bytes) == (4, 26)


def test_counts_of_all_subscriptions_add_up(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("o-1")
    stream = stream_of(sim, scheduler)
    for _ in range(2):
        with stream.subscribe(lambda _: None):
            scheduler.advance_by(1)

    assert stream.statistics().records == 2
    assert stream.statistics().calls == sim.calls["GetRecords"]


def test_every_call_that_is_made_again_is_a_retry(scheduler):
    sim = SimulatedStream(scheduler=scheduler, faults=Faults(seed=1, throttle=0.3, reset=0.2))
    events = []
    stream = stream_of(sim, scheduler, events=events.append)
    with stream.subscribe(lambda _: None):
        scheduler.advance_by(60)

    retries = [event for event in events if isinstance(event, rxd.Retrying | rxd.Throttled)]
    assert stream.statistics().retries == len(retries) > 10
    assert stream.statistics().calls == sim.calls["GetRecords"]


def test_lag_is_told_for_each_shard_that_is_being_read(scheduler):
    sim = SimulatedStream(scheduler=scheduler, page_size=1)
    (shard,) = sim.shards
    sim.put("o-1")
    scheduler.advance_by(100)
    seen = []
    stream = stream_of(sim, scheduler)
    with stream.subscribe(lambda _: seen.append(stream.statistics())):
        scheduler.advance_by(0.001)
        behind = stream.statistics()
        scheduler.advance_by(10)
        at_the_tip = stream.statistics()
        sim.roll_over()
        scheduler.advance_by(10)
        (child,) = [shard for shard in sim.shards if not shard.is_closed]
        rolled_over = stream.statistics()

    assert behind.lag == {shard.id: pytest.approx(100, abs=0.01)}
    assert at_the_tip.lag == {shard.id: 0.0}
    assert rolled_over.lag == {child.id: 0.0}


def test_the_watermark_is_the_slowest_shards_last_change_and_moves_on_when_all_is_quiet(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    first, second = sim.shards
    sim.put_into(first.id, "a")
    scheduler.advance_by(60)
    sim.put_into(second.id, "b")
    stream = stream_of(sim, scheduler)
    with stream.subscribe(lambda _: None):
        assert stream.statistics().watermark is None
        scheduler.advance_by(0.1)
        assert stream.statistics().watermark == BEGAN
        scheduler.advance_by(60)
        now = scheduler.now
        watermark = stream.statistics().watermark

    slowest_poll = timedelta(seconds=5)
    assert now - slowest_poll - timedelta(seconds=SETTLING) <= watermark < now
    assert QUIET_FOR.total_seconds() >= 1


def test_a_late_empty_page_is_not_taken_for_quiet(scheduler):
    sim = SimulatedStream(scheduler=scheduler, empty_pages=3)
    sim.put("a")
    stream = stream_of(sim, scheduler)
    watermarks = []
    with stream.subscribe(lambda change: watermarks.append(stream.statistics().watermark)):
        scheduler.advance_by(30)

    assert watermarks == [None]


def test_the_watermark_never_goes_back_over_splits(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=2, listing_delay=3.0)
    stream = stream_of(sim, scheduler)
    watermarks = []
    with stream.subscribe(lambda _: None):
        for n in range(60):
            sim.put(f"o-{n % 7}")
            if n % 9 == 0:
                sim.split(next(shard.id for shard in sim.shards if not shard.is_closed))
            scheduler.advance_by(1)
            watermarks.append(stream.statistics().watermark or BEGAN)

    assert watermarks == sorted(watermarks)
    assert watermarks[-1] > BEGAN + timedelta(seconds=30)


def test_over_the_wire_the_same_is_counted(moto_stream):
    arn, endpoint = moto_stream
    stream = rxd.changes(arn, endpoint_url=endpoint, start="trim_horizon", follow=False)
    changes = list(rxd.iterate(stream))

    assert stream.statistics().records == len(changes) == 1
    assert stream.statistics().bytes == changes[0].size_bytes > 0


@pytest.fixture
def moto_stream():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client("dynamodb", endpoint_url=endpoint)
        table = client.create_table(
            TableName="statistics",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )["TableDescription"]
        client.put_item(TableName="statistics", Item={"id": {"S": "o-1"}})
        client.close()
        yield table["LatestStreamArn"], endpoint
    finally:
        server.stop()


def test_a_subscription_is_whole_before_the_statistics_know_it() -> None:
    class Asking(Counts):
        """Somebody asks on another thread, as soon as there is a subscription."""

        def follow(self, newest: HowFar) -> None:
            super().follow(newest)
            assert self.statistics().watermark is None

    Progress(Asking())
