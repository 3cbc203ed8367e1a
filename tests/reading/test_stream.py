"""The public way in, in virtual time: one test a rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from reactivex import operators as ops
from reactivex.testing import TestScheduler
from support.reading import Dated, SetBack, StaleListing, ids, read

import rxddbstream as rxd
from rxddbstream.errors import (
    AccessDenied,
    ConfigurationError,
    RequestFailed,
    StreamDisabled,
    StreamNotEnabled,
    TransientError,
)
from rxddbstream.testing import SimulatedStream, build_shards
from rxddbstream.testing.faults import client_error


@pytest.fixture
def scheduler():
    scheduler = TestScheduler()
    scheduler.advance_to(1_000_000.0)
    return scheduler


def test_latest_begins_when_subscribe_returns(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=3)
    sim.put("before")
    reader = read(sim, scheduler)
    written = [sim.put("a"), sim.put("b"), sim.put("a"), sim.remove("a")]
    scheduler.advance_by(10)
    assert sorted(reader.ids) == sorted(ids(written))


class NotReady(rxd.MemoryCheckpoints):
    """A store that is opened, or takes its first positions, only when it was asked for some time."""

    def __init__(self, method, times):
        super().__init__()
        self._failing = {method: times}

    def load(self, stream):
        self._fail("load")
        return super().load(stream)

    def save(self, stream, positions):
        self._fail("save")
        super().save(stream, positions)

    def _fail(self, method):
        if self._failing.get(method):
            self._failing[method] -= 1
            raise TransientError("being made")


@pytest.mark.parametrize("knows_time", [True, False])
@pytest.mark.parametrize("clock_is_off_by", [timedelta(0), timedelta(hours=-5), timedelta(hours=5)])
@pytest.mark.parametrize("cause", ["throttled", "load", "save", "many pages", "reset while connecting"])
def test_what_is_written_after_subscribe_has_returned_comes_however_late_the_first_listing(
    scheduler, cause, clock_is_off_by, knows_time
):
    shards = 60 if cause == "many pages" else 2
    service_time = SetBack(scheduler)
    service_time.by = clock_is_off_by
    sim = SimulatedStream(
        scheduler=service_time, shards=shards, listing_page_size=5, supports_at_timestamp=knows_time
    )
    sim.put("before")
    scheduler.advance_by(120)
    if cause == "throttled":
        sim.script("DescribeStream", *["ThrottlingException"] * 6)
    store = NotReady(cause, times=6) if cause in ("load", "save") else None
    stream = sim.arn
    if cause == "reset while connecting":
        stream = "orders"
        sim.script("ListStreams", *["InternalServerError"] * 6)
    seen = []
    source = rxd.changes(stream, client=Dated(sim, service_time), checkpoints=store, scheduler=scheduler)
    subscription = source.subscribe(lambda change: seen.append(change.event_id))
    written = []
    for n in range(10):
        written.append(sim.put(n))
        scheduler.advance_by(0.01)
        if n == 5:
            sim.roll_over()
    scheduler.advance_by(120)
    assert sorted(seen) == sorted(ids(written))
    subscription.dispose()


def test_so_long_ago_is_counted_from_subscribing(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.script("DescribeStream", *["ThrottlingException"] * 20)
    sim.script("ListStreams", *["ThrottlingException"] * 20)
    scheduler.advance_by(10)
    written = [sim.put("a")]
    seen = []
    rxd.changes("orders", client=sim.client, start="10s", scheduler=scheduler).subscribe(seen.append)
    scheduler.advance_by(600)
    assert ids([change.record for change in seen]) == ids(written)


def test_a_shard_that_closes_between_the_listing_and_the_first_read_loses_nothing(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    written = []

    def close_it(operation, arguments):
        if operation == "GetShardIterator" and not written:
            sim.roll_over()
            written.append(sim.put("a"))

    sim.before_call = close_it
    reader = read(sim, scheduler)
    scheduler.advance_by(30)
    assert reader.ids == ids(written)


def test_the_expected_pipeline(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    buffers = []
    rxd.changes("orders", client=sim.client, scheduler=scheduler).pipe(
        ops.filter(lambda change: change.event_name == "INSERT"),
        ops.map(lambda change: change.keys["id"]),
        ops.buffer_with_time(10, scheduler=scheduler),
    ).subscribe(buffers.append)
    sim.put("a")
    sim.put("a")
    scheduler.advance_by(10)
    sim.put("b")
    scheduler.advance_by(10)
    assert buffers == [["a"], ["b"]]


def test_each_subscription_reads_on_its_own(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    source = rxd.changes(sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon")
    first, second = [], []
    source.subscribe(first.append)
    sim.put("a")
    scheduler.advance_by(5)
    source.subscribe(second.append)
    scheduler.advance_by(5)
    assert ids(sim.records) == [c.event_id for c in first] == [c.event_id for c in second]


def test_the_explicit_scheduler_comes_before_that_of_subscribe(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    seen = []
    rxd.changes(sim.arn, client=sim.client, scheduler=scheduler).subscribe(
        seen.append, scheduler=TestScheduler()
    )
    rxd.changes(sim.arn, client=sim.client).subscribe(seen.append, scheduler=scheduler)
    sim.put("a")
    scheduler.advance_by(5)
    assert len(seen) == 2


def test_shards_are_observables_with_a_name(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=build_shards(3, "tree"))
    root, left, right = sim.shards
    sim.put_into(root.id, "old")
    log = []

    def subscribe_to(shard):
        log.append((shard.shard.id, "opened"))
        shard.subscribe(
            lambda change: log.append((shard.shard.id, change.keys["id"])),
            on_completed=lambda: log.append((shard.shard.id, "completed")),
        )

    source = rxd.shards(sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon")
    subscription = source.subscribe(subscribe_to)
    scheduler.advance_by(5)
    assert log[:3] == [(root.id, "opened"), (root.id, "old"), (root.id, "completed")]
    assert {entry[0] for entry in log[3:]} == {left.id, right.id}
    subscription.dispose()


def test_a_shards_stream_says_which_shard_it_is_and_from_where(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    seen = []
    source = rxd.shards(sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon")
    source.subscribe(seen.append).dispose()
    assert [repr(shard) for shard in seen] == [f"<ShardStream {sim.shards[0].id} from TrimHorizon()>"]


@pytest.mark.parametrize("fault", ["of a call", "of the observer"])
@pytest.mark.parametrize("handled", [False, True])
def test_a_shards_error_that_nobody_takes_ends_the_stream_of_shards(scheduler, fault, handled):
    # shards   A----B----#          the error of A, unless A's subscriber has an on_error
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    failed, taken, outer = sim.shards[0].id, [], []

    def observe(change):
        if fault == "of the observer" and change.shard_id == failed:
            raise ZeroDivisionError

    def before_call(operation, arguments):
        if fault == "of a call" and arguments.get("ShardId") == failed:
            raise client_error("AccessDeniedException", operation)

    def subscribe(shard):
        shard.subscribe(observe, taken.append if handled else None)

    sim.before_call = before_call
    for number in range(10):
        sim.put(f"o-{number}")
    source = rxd.shards(sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon")
    source.subscribe(subscribe, outer.append)
    scheduler.advance_by(30)
    kind = AccessDenied if fault == "of a call" else ZeroDivisionError
    assert [type(error) for error in (taken if handled else outer)] == [kind]
    assert (outer if handled else taken) == []


@pytest.mark.parametrize("follow", [True, False])
def test_such_an_error_ends_run_and_its_threads(follow):
    sim = SimulatedStream(shards=2)
    sim.script("GetRecords", "AccessDeniedException")
    source = rxd.shards(sim.arn, client=sim.client, start="trim_horizon", follow=follow)
    with pytest.raises(AccessDenied):
        rxd.run(source, lambda shard: shard.subscribe(print))


def test_a_shards_error_that_nobody_at_all_takes_is_raised_where_it_comes(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.script("GetShardIterator", "AccessDeniedException")
    source = rxd.shards(sim.arn, client=sim.client, scheduler=scheduler, start="trim_horizon")
    source.subscribe(lambda shard: shard.subscribe(print))
    with pytest.raises(AccessDenied):
        scheduler.advance_by(30)


def test_disposing_stops_every_call(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=5)
    reader = read(sim, scheduler)
    scheduler.advance_by(5)
    reader.subscription.dispose()
    calls = sim.calls.total()
    scheduler.advance_by(1000)
    assert sim.calls.total() == calls


def test_five_thousand_shards_are_all_polled(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=5000)
    reader = read(sim, scheduler, poll=rxd.Poll(fastest=1.0, slowest=1.0))
    scheduler.advance_by(10)  # a listing of 50 pages, at ten a second
    calls = sim.calls["GetRecords"]
    written = [sim.put(f"item-{n}") for n in range(5000)]
    scheduler.advance_by(1.0)
    assert sim.calls["GetRecords"] - calls >= 5000
    assert sorted(reader.ids) == sorted(ids(written))
    assert len(reader.shards_opened()) == 5000
    reader.subscription.dispose()


def test_a_bounded_read_goes_on_to_a_child_whose_parent_is_still_listed_as_open(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("a", n=1)
    [parent] = sim.shards
    [child] = sim.roll_over()
    sim.put("a", n=2)
    scheduler.advance_by(5)
    listed = scheduler.now.timestamp() + 1
    stale = StaleListing(sim, scheduler, hidden={child.id: listed}, still_open={parent.id: listed})
    reader = read(sim, scheduler, client=stale, start="trim_horizon", follow=False)
    scheduler.advance_by(120)
    assert reader.completed
    assert reader.ids == ids(sim.records)


def test_a_budget_of_calls_is_shared_by_all_shards(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=50)
    reader = read(sim, scheduler, poll=rxd.Poll(fastest=0.1, slowest=0.1, calls_per_second=20))
    scheduler.advance_by(1)
    calls = sim.calls["GetRecords"]
    scheduler.advance_by(60)
    assert 1100 <= sim.calls["GetRecords"] - calls <= 1220
    sim.put("item")
    scheduler.advance_by(5)
    assert len(reader.changes) == 1


def test_of_many_shards_one_that_has_had_a_change_is_asked_as_often_as_if_it_were_alone(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=400)
    busy = sim.shards[17].id
    sim.put_into(busy, "first")
    reader = read(sim, scheduler, start="trim_horizon", poll=rxd.Poll(fastest=0.1, slowest=5.0))
    scheduler.advance_by(0.05)
    assert len(reader.changes) == 1
    for n in range(5):  # by the second
        sim.put_into(busy, n)
        scheduler.advance_by(0.15)
        assert len(reader.changes) == n + 2


def test_idle_shards_are_asked_less_and_less(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    read(sim, scheduler)
    scheduler.advance_by(60)
    calls = sim.calls["GetRecords"]
    scheduler.advance_by(100)
    assert sim.calls["GetRecords"] - calls == 20


def test_a_table_found_by_its_name_and_one_that_is_not(scheduler):
    sim = SimulatedStream("orders", scheduler=scheduler)
    seen, errors = [], []
    rxd.changes("orders", client=sim.client, scheduler=scheduler).subscribe(seen.append)
    rxd.changes("other", client=sim.client, scheduler=scheduler).subscribe(on_error=errors.append)
    sim.put("a")
    scheduler.advance_by(5)
    assert len(seen) == 1
    assert isinstance(errors[0], StreamNotEnabled)
    assert "'other'" in str(errors[0])


def test_a_stream_that_has_no_shards_yet_is_asked_again(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    client = StaleListing(sim, scheduler, hidden={sim.shards[0].id: scheduler.now.timestamp() + 5})
    reader = read(sim, scheduler, client=client)
    sim.put("a")
    scheduler.advance_by(20)
    assert len(reader.changes) == 1


def test_a_disabled_stream_is_read_to_its_end_and_then_an_error(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=3)
    for n in range(10):
        sim.put(f"item-{n}")
    sim.disable()
    reader = read(sim, scheduler, start="trim_horizon")
    scheduler.advance_by(60)
    assert sorted(reader.ids) == sorted(ids(sim.records))
    assert isinstance(reader.error, StreamDisabled)
    bounded = read(sim, scheduler, start="trim_horizon", follow=False)
    scheduler.advance_by(60)
    assert sorted(bounded.ids) == sorted(ids(sim.records))
    assert bounded.completed


def test_a_moto_like_shard_that_is_its_own_parent_does_not_loop(scheduler):
    shard = build_shards(1)[0]
    sim = SimulatedStream(scheduler=scheduler, shards=[type(shard)(shard.id, parent_id=shard.id)])
    reader = read(sim, scheduler, start="trim_horizon")
    sim.put("a")
    scheduler.advance_by(5)
    assert len(reader.changes) == 1


def test_a_service_that_refuses_shard_filters_is_listed(scheduler):
    sim = SimulatedStream(scheduler=scheduler)

    class WithoutFilters:
        def __getattr__(self, name):
            return getattr(sim.client, name)

        def describe_stream(self, *, ShardFilter=None, **arguments):  # noqa: N803
            if ShardFilter is not None:
                raise TypeError("no such argument: ShardFilter")
            return sim.client.describe_stream(**arguments)

    reader = read(sim, scheduler, client=WithoutFilters())
    scheduler.advance_by(5)
    for _ in range(3):
        sim.put("a")
        sim.roll_over()
        scheduler.advance_by(5)
    assert len(reader.changes) == 3
    assert reader.error is None


def test_days_of_roll_overs_are_followed_while_old_shards_vanish(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=4)
    reader = read(sim, scheduler, poll=rxd.Poll(fastest=60, slowest=600))
    for _ in range(60):
        sim.roll_over()
        sim.put("a")
        scheduler.advance_by(4 * 3600)
    assert reader.error is None
    assert len(reader.changes) == 60
    assert len(sim.client.describe_stream(StreamArn=sim.arn)["StreamDescription"]["Shards"]) < 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start": "newest"}, "latest, trim-horizon"),
        ({"start": 5}, "datetime or a timedelta"),
        ({"start": datetime(2026, 1, 1)}, "no time zone"),
        ({"on_gap": "ignore"}, "'raise' or 'skip'"),
        ({"client": object()}, "boto3.client('dynamodbstreams')"),
        ({"stream": " "}, "table's name"),
    ],
)
def test_what_cannot_work_is_refused_at_once(arguments, words):
    with pytest.raises(ConfigurationError) as raised:
        rxd.changes(**{"stream": "orders", **arguments})
    assert words in str(raised.value)


def test_client_and_what_it_is_made_from_exclude_each_other():
    sim = SimulatedStream()
    with pytest.raises(ConfigurationError, match="client= has"):
        rxd.changes("orders", client=sim.client, region_name="eu-west-1")


def test_a_start_in_the_future_comes_to_on_error(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    reader = read(sim, scheduler, start=datetime(2100, 1, 1, tzinfo=UTC))
    assert isinstance(reader.error, ConfigurationError)


@pytest.mark.parametrize("knows", [True, False])
def test_a_time_to_start_from(scheduler, knows):
    sim = SimulatedStream(scheduler=scheduler, supports_at_timestamp=knows)
    for n in range(100):
        sim.put(f"item-{n}")
        scheduler.advance_by(1.5)
    reader = read(sim, scheduler, start=timedelta(seconds=15.2))
    scheduler.advance_by(10)
    assert reader.ids == ids(sim.records[-10:])


def test_a_refused_request_ends_the_stream(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.script("GetRecords", "ValidationException")
    reader = read(sim, scheduler)
    scheduler.advance_by(5)
    assert isinstance(reader.error, RequestFailed)
    assert sim.shards[0].id in str(reader.error)
    calls = sim.calls.total()
    scheduler.advance_by(100)
    assert sim.calls.total() == calls


def test_what_is_written_when_a_shard_is_told_to_be_opened_is_not_missed(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    seen = []
    source = rxd.changes(sim.arn, client=sim.client, scheduler=scheduler, events=lambda event: sim.put("a"))
    source.subscribe(seen.append)
    scheduler.advance_by(5)
    assert len(seen) == 1


def test_with_a_budget_the_shard_that_is_behind_gets_every_other_call(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=20, page_size=1)
    behind = sim.shards[0].id
    for n in range(200):
        sim.put_into(behind, "item", n=n)
    scheduler.advance_by(3600)
    reader = read(
        sim, scheduler, start="trim_horizon", poll=rxd.Poll(fastest=0.1, slowest=0.1, calls_per_second=10)
    )
    calls = sim.calls["GetRecords"]
    scheduler.advance_by(20)
    delivered = len(reader.changes)
    for shard in sim.shards:
        sim.put_into(shard.id, f"late-{shard.id}")
    scheduler.advance_by(60)

    assert sim.calls["GetRecords"] - calls <= 10 * 80 + 1
    assert delivered >= 0.4 * 200  # half of the calls, and not a twentieth of them
    assert len(reader.changes) == 220
    reader.subscription.dispose()
