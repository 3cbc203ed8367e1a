"""Each fault: what comes through, what the events say, and the message that a person sees."""

from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
)
from reactivex.testing import TestScheduler
from support.reading import SetBack, StaleListing, ids, read

import rxddbstream as rxd
from rxddbstream.errors import (
    AccessDenied,
    ConnectionLost,
    CredentialsError,
    DataTrimmed,
    DecodeError,
    MalformedAnswer,
    ServiceUnavailable,
    StreamNotFound,
    Throttled,
)
from rxddbstream.testing import Faults, SimulatedStream, build_shards
from rxddbstream.testing.faults import client_error

URL = "https://streams.dynamodb.eu-west-1.amazonaws.com"


@pytest.fixture
def scheduler():
    scheduler = TestScheduler()
    scheduler.advance_to(1_000_000.0)
    return scheduler


def of_kind(reader, kind):
    return [event for event in reader.events if isinstance(event, kind)]


TRANSIENT = [
    ("LimitExceededException", rxd.Throttled, Throttled, "Too many operations"),
    ("ThrottlingException", rxd.Throttled, Throttled, "Rate exceeded"),
    ("InternalServerError", rxd.Retrying, ServiceUnavailable, "internal error"),
    ("ServiceUnavailable", rxd.Retrying, ServiceUnavailable, "ServiceUnavailable"),
    (ConnectionClosedError(endpoint_url=URL), rxd.Retrying, ConnectionLost, "Connection was closed"),
    (ReadTimeoutError(endpoint_url=URL), rxd.Retrying, ConnectionLost, "Read timeout"),
    (EndpointConnectionError(endpoint_url=URL), rxd.Retrying, ConnectionLost, "Could not connect"),
    (
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        rxd.Retrying,
        ConnectionLost,
        "1 read, but total bytes expected is 2",
    ),
]


@pytest.mark.parametrize("operation", ["DescribeStream", "GetShardIterator", "GetRecords"])
@pytest.mark.parametrize(("fault", "event", "error", "words"), TRANSIENT)
def test_a_fault_in_passing_is_retried_and_told(scheduler, operation, fault, event, error, words):
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("a")
    sim.script(operation, fault, fault, fault)
    reader = read(sim, scheduler, start="trim_horizon")
    scheduler.advance_by(10)
    assert reader.ids == ids(sim.records)
    assert reader.error is None
    told = of_kind(reader, event)
    assert [retry.attempt for retry in told] == [1, 2, 3]
    assert all(0 <= retry.delay <= 0.1 * 2 ** (retry.attempt - 1) for retry in told)
    assert all(isinstance(retry.error, error) for retry in told)
    assert words in str(told[0].error)
    assert sim.arn in str(told[0].error)
    shard_id = None if operation == "DescribeStream" else sim.shards[0].id
    assert {retry.shard_id for retry in told} == {shard_id}


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("DescribeStream", {}),
        ("GetShardIterator", {}),
    ],
)
def test_a_malformed_answer_is_asked_for_again(scheduler, operation, answer):
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("a")
    sim.script(operation, answer)
    reader = read(sim, scheduler, start="trim_horizon")
    scheduler.advance_by(5)
    assert reader.ids == ids(sim.records)
    assert isinstance(of_kind(reader, rxd.Retrying)[0].error, MalformedAnswer)


class Circling:
    """A service whose listing leads back: it takes no ExclusiveStartShardId, until it is mended."""

    def __init__(self, sim, pages):
        self._sim = sim
        self._pages = pages
        self._asked = 0
        self.is_mended = False

    def __getattr__(self, name):
        return getattr(self._sim.client, name)

    def describe_stream(self, **arguments):
        answer = self._sim.client.describe_stream(StreamArn=arguments["StreamArn"])
        if not self.is_mended:
            answer["StreamDescription"]["LastEvaluatedShardId"] = self._pages[self._asked % len(self._pages)]
            self._asked += 1
        return answer


@pytest.mark.parametrize("pages", [["shard-a"], ["shard-a", "shard-b"], ["shard-a", "shard-b", "shard-c"]])
def test_a_listing_that_leads_back_is_told_and_asked_for_again_with_backoff(scheduler, pages):
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("a")
    circling = Circling(sim, pages)
    reader = read(sim, scheduler, client=circling, start="trim_horizon")
    scheduler.advance_by(60)

    told = of_kind(reader, rxd.Retrying)
    assert 5 < len(told) < 30
    assert "leads back to shard shard-a" in str(told[0].error)
    assert all(isinstance(event.error, MalformedAnswer) for event in told)
    circling.is_mended = True
    scheduler.advance_by(30)
    assert reader.ids == ids(sim.records)


@pytest.mark.parametrize("pages", [["shard-a"], ["shard-a", "shard-b"]])
def test_a_listing_that_leads_back_while_a_shard_is_looked_up_is_told(scheduler, pages):
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("a")
    circling = Circling(sim, pages)
    circling.is_mended = True
    reader = read(sim, scheduler, client=circling, start="trim_horizon")
    scheduler.advance_by(2)
    circling.is_mended = False
    sim.script("GetRecords", *["ResourceNotFoundException"] * 40)
    circling._sim = Without(sim)
    scheduler.advance_by(40)

    told = of_kind(reader, rxd.Retrying)
    assert "leads back to shard shard-a" in str(told[0].error)
    assert reader.error is None
    assert len(told) < 40


class Without:
    """The same stream, whose listing has no shard."""

    def __init__(self, sim):
        self.client = self
        self._client = sim.client

    def __getattr__(self, name):
        return getattr(self._client, name)

    def describe_stream(self, **arguments):
        answer = self._client.describe_stream(StreamArn=arguments["StreamArn"])
        answer["StreamDescription"]["Shards"] = []
        return answer


@pytest.mark.parametrize("record", [{"dynamodb": {}}, {}, "?"])
def test_a_record_without_its_place_ends_the_stream_and_is_not_asked_for_again(scheduler, record):
    sim = SimulatedStream(scheduler=scheduler)
    sim.script("GetRecords", {"Records": [record], "NextShardIterator": "x"})
    reader = read(sim, scheduler, start="trim_horizon")
    scheduler.advance_by(5)

    assert isinstance(reader.error, DecodeError)
    assert f"a record of shard {sim.shards[0].id} of {sim.arn} " in str(reader.error)
    assert not of_kind(reader, rxd.Retrying)


def test_a_cut_page_is_not_the_end_of_a_shard(scheduler):
    sim = SimulatedStream(scheduler=scheduler, page_size=1)
    for n in range(5):
        sim.put(f"item-{n}")
    sim.roll_over()
    sim.put("after")
    sim.script("GetRecords", None, {}, {}, {}, {}, {}, {}, {}, None, None, {}, {})
    reader = read(sim, scheduler, start="trim_horizon")
    scheduler.advance_by(120)
    assert reader.ids == ids(sim.records)


def test_a_service_that_ends_shards_with_nothing_at_all_is_believed_when_the_listing_agrees(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("a")
    sim.roll_over()
    sim.put("b")

    class Bare:
        def __getattr__(self, name):
            return getattr(sim.client, name)

        def get_records(self, **arguments):
            answer = sim.client.get_records(**arguments)
            return answer if answer["Records"] or "NextShardIterator" in answer else {}

    reader = read(sim, scheduler, client=Bare(), start="trim_horizon")
    scheduler.advance_by(900)
    assert reader.ids == ids(sim.records)


@pytest.mark.parametrize("failing", ["DescribeStream", "GetRecords"])
def test_patience_can_be_bounded(scheduler, failing):
    sim = SimulatedStream(scheduler=scheduler)
    sim.script(failing, *["ThrottlingException"] * 1000)
    reader = read(sim, scheduler, poll=rxd.Poll(give_up_after=60))
    scheduler.advance_by(50)
    assert reader.error is None
    scheduler.advance_by(100)
    assert isinstance(reader.error, Throttled)


def test_without_a_bound_it_goes_on_for_ever(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.script("GetRecords", *["InternalServerError"] * 300)
    reader = read(sim, scheduler)
    sim.put("a")
    scheduler.advance_by(1800)
    assert reader.error is None
    scheduler.advance_by(3600)
    assert reader.ids == ids(sim.records)


def test_waits_grow_to_a_ceiling_with_jitter(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.script("GetRecords", *["InternalServerError"] * 40)
    reader = read(sim, scheduler)
    scheduler.advance_by(3600)
    delays = [event.delay for event in of_kind(reader, rxd.Retrying)]
    assert len(delays) == 40
    assert max(delays) <= 20.0
    assert len({round(delay, 6) for delay in delays}) > 30


def test_an_expired_iterator_is_renewed_after_the_last_record(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    reader = read(sim, scheduler)
    sim.put("a")
    scheduler.advance_by(3)
    sim.script("GetRecords", "ExpiredIteratorException")
    sim.put("b")
    scheduler.advance_by(5)
    assert reader.ids == ids(sim.records)
    assert not of_kind(reader, rxd.Retrying)


@pytest.mark.parametrize("knows_time", [True, False])
def test_an_iterator_at_latest_that_expires_unread_skips_nothing(scheduler, knows_time):
    sim = SimulatedStream(scheduler=scheduler, supports_at_timestamp=knows_time)
    sim.put("before")
    scheduler.advance_by(120)
    reader = read(sim, scheduler, poll=rxd.Poll(fastest=1, slowest=1))
    scheduler.advance_by(60)
    written = []
    sim.script("GetRecords", "ExpiredIteratorException")
    written.append(sim.put("a"))
    scheduler.advance_by(5)
    assert reader.ids == ids(written)


def test_a_consumer_that_sleeps_for_hours_goes_on_where_it_was(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    reader = read(sim, scheduler)
    sim.put("a")
    scheduler.advance_by(5)
    scheduler.sleep(3600)  # a machine that was suspended: time passes, and nothing runs
    sim.put("b")
    sim.roll_over()
    scheduler.sleep(3 * 3600)
    sim.put("c")
    scheduler.advance_by(60)
    assert reader.ids == ids(sim.records)


@pytest.mark.parametrize("rolled_over", [False, True])
def test_trimmed_changes_end_the_stream(scheduler, rolled_over):
    sim = SimulatedStream(scheduler=scheduler)
    reader = read(sim, scheduler)
    first = sim.put("a")
    scheduler.advance_by(5)
    sim.put("b")
    if rolled_over:
        sim.roll_over()
    scheduler.sleep(25 * 3600)
    sim.put("c")
    scheduler.advance_by(60)
    assert isinstance(reader.error, DataTrimmed)
    assert reader.error.after == first["dynamodb"]["SequenceNumber"]
    message = str(reader.error)
    assert reader.error.shard_id in message
    assert first["dynamodb"]["SequenceNumber"] in message
    assert "on_gap='skip'" in message
    assert of_kind(reader, rxd.Gap)[0].after == reader.error.after
    assert reader.ids == ids([first])


@pytest.mark.parametrize("rolled_over", [False, True])
def test_trimmed_changes_can_be_skipped_but_not_in_silence(scheduler, rolled_over):
    sim = SimulatedStream(scheduler=scheduler)
    reader = read(sim, scheduler, on_gap="skip")
    first = sim.put("a")
    scheduler.advance_by(5)
    sim.put("b")
    if rolled_over:
        sim.roll_over()
    scheduler.sleep(25 * 3600)
    last = sim.put("c")
    scheduler.advance_by(60)
    assert reader.error is None
    assert reader.ids == ids([first, last])
    (gap,) = of_kind(reader, rxd.Gap)
    assert gap.after == first["dynamodb"]["SequenceNumber"]


def test_a_shard_that_came_and_went_unread_is_a_gap(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    reader = read(sim, scheduler, on_gap="skip")
    sim.put("a")
    scheduler.advance_by(5)
    sim.roll_over()
    scheduler.sleep(60)  # not noticed yet
    sim.put("b")
    lost = sim.shards[-1].id
    sim.roll_over()
    scheduler.sleep(25 * 3600)
    sim.put("c")
    scheduler.advance_by(120)
    assert reader.ids == ids([sim.records[0], sim.records[-1]])
    assert lost in {gap.shard_id for gap in of_kind(reader, rxd.Gap)}


def test_shards_that_are_listed_but_gone_when_the_reading_begins_are_no_gap(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=build_shards(3, "chain"))
    dead, dying, _ = sim.shards
    sim.put("a")

    class Lagging:
        def __getattr__(self, name):
            return getattr(sim.client, name)

        def get_records(self, **arguments):
            iterator = arguments["ShardIterator"]
            if owner.get(iterator) in (dead.id, dying.id):
                error = {"Error": {"Code": "ResourceNotFoundException", "Message": "Invalid ShardId"}}
                raise ClientError(error, "GetRecords")
            return sim.client.get_records(**arguments)

        def get_shard_iterator(self, **arguments):
            answer = sim.client.get_shard_iterator(**arguments)
            owner[answer["ShardIterator"]] = arguments["ShardId"]
            return answer

    owner = {}
    reader = read(sim, scheduler, client=Lagging(), start="trim_horizon")
    scheduler.advance_by(120)
    assert reader.error is None
    assert not of_kind(reader, rxd.Gap)
    assert reader.ids == ids(sim.records)


class Denying:
    """A client that denies one shard for a while, and whose plain listings may lack it for as long.

    Args:
        denials: how often it is denied.
        listed_after: seconds until a listing without a filter has it.
    """

    def __init__(self, sim, scheduler, *, denials, listed_after=0.0):
        self.shard_id = None
        self._stale = StaleListing(sim, scheduler)
        self._sim, self._scheduler = sim, scheduler
        self._denials, self._listed_after = denials, listed_after

    def deny(self, shard_id):
        self.shard_id = shard_id
        self._stale._hidden[shard_id] = self._scheduler.now.timestamp() + self._listed_after

    def __getattr__(self, name):
        return getattr(self._sim.client, name)

    def describe_stream(self, **arguments):
        client = self._sim.client if "ShardFilter" in arguments else self._stale
        return client.describe_stream(**arguments)

    def get_shard_iterator(self, **arguments):
        if arguments["ShardId"] == self.shard_id and self._denials:
            self._denials -= 1
            raise client_error("ResourceNotFoundException", "GetShardIterator")
        return self._sim.client.get_shard_iterator(**arguments)


@pytest.mark.parametrize(("denials", "listed_after"), [(1, 5.0), (3, 0.0), (8, 60.0)])
def test_a_new_shard_that_is_denied_for_a_moment_is_read(scheduler, denials, listed_after):
    sim = SimulatedStream(scheduler=scheduler)
    client = Denying(sim, scheduler, denials=denials, listed_after=listed_after)
    reader = read(sim, scheduler, client=client)
    scheduler.advance_by(5)
    sim.put("a")
    [child] = sim.roll_over()
    client.deny(child.id)
    sim.put("b")
    scheduler.advance_by(300)
    assert reader.error is None
    assert not of_kind(reader, rxd.Gap)
    assert reader.ids == ids(sim.records)
    assert reader.shards_opened() == [shard.id for shard in sim.shards]  # once each, though it was looked up


def test_a_new_shard_that_is_denied_for_good_is_a_gap(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    client = Denying(sim, scheduler, denials=1_000_000, listed_after=1e9)
    reader = read(sim, scheduler, client=client)
    scheduler.advance_by(5)
    [child] = sim.roll_over()
    client.deny(child.id)
    sim.put("a")
    scheduler.advance_by(15)
    assert reader.error is None
    scheduler.advance_by(60)
    assert client._denials <= 1_000_000 - 10
    assert isinstance(reader.error, DataTrimmed)
    assert reader.error.shard_id == child.id


def test_cut_answers_of_an_open_shard_that_a_listing_lacks_are_not_its_end(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    client = StaleListing(sim, scheduler)
    reader = read(sim, scheduler, client=client)
    scheduler.advance_by(5)
    client._hidden[sim.shards[0].id] = scheduler.now.timestamp() + 3
    sim.script("GetRecords", *[{}] * 4)
    scheduler.advance_by(10)
    for n in range(20):
        sim.put(n)
    scheduler.advance_by(60)
    assert sorted(reader.ids) == sorted(ids(sim.records))


def test_an_orphan_that_is_listed_late_is_no_gap(scheduler):
    # Found by Hypothesis: the orphan's parent had gone before anybody subscribed.
    orphan = build_shards(2, "chain")[1:]
    sim = SimulatedStream(scheduler=scheduler, shards=orphan)
    sim.put("a")
    hidden = {orphan[0].id: scheduler.now.timestamp() + 1}
    reader = read(sim, scheduler, client=StaleListing(sim, scheduler, hidden=hidden), start="trim_horizon")
    scheduler.advance_by(30)
    assert reader.error is None
    assert reader.ids == ids(sim.records)


def test_a_trim_horizon_that_moves_before_the_first_read_is_asked_for_again(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("a")
    scheduler.advance_by(10)
    trimmed = []

    def trim_once(operation, arguments):
        if operation == "GetRecords" and not trimmed:
            trimmed.append(sim.trim())
            sim.put("b")

    sim.before_call = trim_once
    reader = read(sim, scheduler, start="trim_horizon")
    scheduler.advance_by(10)
    assert reader.error is None
    assert reader.ids == ids(sim.records[1:])


def test_a_checkpoint_older_than_the_retention_is_a_gap(scheduler):
    store = rxd.MemoryCheckpoints()
    sim = SimulatedStream(scheduler=scheduler)
    reader = read(sim, scheduler, checkpoints=store)
    first = sim.put("a")
    scheduler.advance_by(10)
    reader.subscription.dispose()
    sim.put("b")
    sim.roll_over()
    scheduler.advance_by(49 * 3600)
    sim.roll_over()
    last = sim.put("c")
    strict = read(sim, scheduler, checkpoints=store)
    scheduler.advance_by(60)
    assert isinstance(strict.error, DataTrimmed)
    assert strict.error.after == first["dynamodb"]["SequenceNumber"]
    lenient = read(sim, scheduler, checkpoints=store, on_gap="skip")
    scheduler.advance_by(60)
    assert lenient.error is None
    assert lenient.ids == ids([last])
    assert of_kind(lenient, rxd.Gap)
    lenient.subscription.dispose()
    again = read(sim, scheduler, checkpoints=store)
    scheduler.advance_by(600)
    assert again.error is None
    assert again.ids == []


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("ExpiredTokenException", CredentialsError, ["expired", "sign in again"]),
        ("UnrecognizedClientException", CredentialsError, ["credentials are wrong"]),
        (NoCredentialsError(), CredentialsError, ["no credentials", "aws configure", "--profile"]),
        ("AccessDeniedException", AccessDenied, ["dynamodb:GetRecords", "dynamodb:DescribeStream"]),
    ],
)
@pytest.mark.parametrize("operation", ["DescribeStream", "GetShardIterator", "GetRecords"])
def test_what_will_not_pass_ends_the_stream_at_once_and_says_what_to_do(
    scheduler, operation, fault, error, words
):
    sim = SimulatedStream(scheduler=scheduler)
    sim.script(operation, fault)
    reader = read(sim, scheduler)
    scheduler.advance_by(10)
    assert isinstance(reader.error, error)
    assert sim.arn in str(reader.error)
    assert operation == "DescribeStream" or sim.shards[0].id in str(reader.error)
    assert all(word in str(reader.error) for word in words)
    calls = sim.calls.total()
    scheduler.advance_by(600)
    assert sim.calls.total() == calls


def test_a_deleted_table_ends_the_stream(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=3)
    reader = read(sim, scheduler)
    sim.put("a")
    scheduler.advance_by(5)
    sim.delete()
    scheduler.advance_by(30)
    assert reader.ids == ids(sim.records)
    assert isinstance(reader.error, StreamNotFound)
    assert sim.arn in str(reader.error)
    assert "whether the table still exists" in str(reader.error)


def test_a_storm_of_all_faults_loses_nothing(scheduler):
    stormy = Faults(
        seed=7, throttle=0.1, server_error=0.1, reset=0.1, timeout=0.1, truncate=0.2, expire_after=5
    )
    sim = SimulatedStream(scheduler=scheduler, shards=4, faults=stormy, page_size=3)
    reader = read(sim, scheduler, start="trim_horizon")
    for n in range(300):
        sim.put(f"item-{n % 20}")
        if n % 60 == 59:
            sim.roll_over()
        scheduler.advance_by(0.2)
    scheduler.advance_by(1200)
    assert reader.error is None
    assert sorted(reader.ids) == sorted(ids(sim.records))


def test_a_closed_shard_that_goes_without_a_child_does_not_end_the_stream(scheduler):
    # CHILD_SHARDS of it is answered with ResourceNotFoundException then, as if the stream were gone.
    sim = SimulatedStream(scheduler=scheduler, shards=2)
    reader = read(sim, scheduler, poll=rxd.Poll(fastest=60, slowest=600))
    scheduler.advance_by(5)
    closed, open_ = sim.shards
    sim.close(closed.id)
    scheduler.advance_by(25 * 3600)
    assert reader.error is None
    calls = sim.calls["DescribeStream"]
    scheduler.advance_by(3600)
    assert sim.calls["DescribeStream"] - calls <= 61  # it is not asked for any more
    [child] = sim.roll_over(open_.id)
    sim.put_into(child.id, "a")
    scheduler.advance_by(700)
    assert reader.ids == ids(sim.records)


def test_a_closed_shard_that_is_denied_while_its_children_are_asked_for_still_has_them(scheduler):
    sim = SimulatedStream(scheduler=scheduler, listing_delay=5.0)
    reader = read(sim, scheduler)
    scheduler.advance_by(5)
    sim.roll_over()
    sim.put("a")
    denied = []

    def deny(operation, arguments):
        if "ShardFilter" in arguments and len(denied) < 2:
            denied.append(arguments)
            raise client_error("ResourceNotFoundException", operation)

    sim.before_call = deny
    scheduler.advance_by(20)
    assert len(denied) == 2
    assert reader.ids == ids(sim.records)


def test_a_service_that_takes_no_notice_of_a_filter_is_asked_for_all_pages(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=15, listing_page_size=10, supports_shard_filter=False)
    reader = read(sim, scheduler)
    scheduler.advance_by(5)
    [child] = sim.roll_over(sim.shards[-1].id)
    sim.put_into(child.id, "a")
    scheduler.advance_by(10)
    assert reader.ids == ids(sim.records)


def test_the_first_position_outlives_a_crash_before_the_first_checkpoint(scheduler):
    store = rxd.MemoryCheckpoints()
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("before")
    scheduler.advance_by(100)

    class Dead(rxd.MemoryCheckpoints):
        """Keeps what is written at once, and nothing later: the process was killed."""

        def load(self, stream):
            return store.load(stream)

        def save(self, stream, positions):
            if not store.load(stream):
                store.save(stream, positions)

    killed = read(sim, scheduler, checkpoints=Dead())
    killed.subscription.dispose()
    down = [sim.put("while it was down")]
    sim.roll_over()
    down.append(sim.put("and after a roll-over"))
    scheduler.advance_by(timedelta(hours=1).total_seconds())
    reader = read(sim, scheduler, checkpoints=store)
    scheduler.advance_by(30)
    assert reader.ids == ids(down)


def test_a_shards_end_is_kept_and_forgotten_when_the_service_forgets_it(scheduler):
    store = rxd.MemoryCheckpoints()
    sim = SimulatedStream(scheduler=scheduler)
    seldom = rxd.Poll(fastest=1, slowest=60)
    reader = read(sim, scheduler, checkpoints=store, start="trim_horizon", poll=seldom)
    first = sim.shards[0].id
    sim.put("a")
    sim.roll_over()
    sim.put("b")
    scheduler.advance_by(30)
    assert store.load(sim.arn)[first] == "2 SHARD_END"
    for _ in range(8):
        scheduler.advance_by(4 * 3600)
        sim.roll_over()
        sim.put("c")
    scheduler.advance_by(300)
    scheduler.advance_by(600)
    listed = {shard.id for shard in sim.shards} | {shard.parent_id for shard in sim.shards}
    assert store.load(sim.arn).keys() == {"*start", "*began", "*seen", *listed}
    assert first not in listed
    assert reader.error is None
    assert reader.ids == ids(sim.records)


def test_a_shard_that_listings_lack_for_minutes_is_not_read_again_when_they_have_it_again(scheduler):
    store = rxd.MemoryCheckpoints()
    sim = SimulatedStream(scheduler=scheduler)
    client = StaleListing(sim, scheduler)
    reader = read(sim, scheduler, client=client, checkpoints=store, start="trim_horizon")
    for _ in range(3):
        sim.put("a")
        sim.roll_over()
        scheduler.advance_by(70)
    client._hidden = {shard.id: scheduler.now.timestamp() + 300 for shard in sim.shards[:2]}
    for _ in range(8):
        scheduler.advance_by(70)
        sim.put("a")
    assert reader.ids == ids(sim.records[:-1])
    assert [store.load(sim.arn)[shard.id] for shard in sim.shards[:2]] == ["2 SHARD_END"] * 2


@pytest.mark.parametrize("knows_time", [True, False])
def test_what_is_written_while_the_first_iterator_fails_is_not_missed(scheduler, knows_time):
    sim = SimulatedStream(scheduler=scheduler, supports_at_timestamp=knows_time)
    sim.put("before")
    scheduler.advance_by(120)
    sim.script("GetShardIterator", *["ThrottlingException"] * 4)
    reader = read(sim, scheduler)
    written = [sim.put("a")]
    scheduler.advance_by(30)
    assert reader.ids == ids(written)


def test_cut_answers_and_iterators_that_expire_at_once_do_not_starve_a_shard(scheduler):
    # Found by Hypothesis: waiting after many cut answers let each new iterator expire, and the shard
    # was taken for ended in the end.
    cut = Faults(seed=845, truncate=0.3, expire_after=0.5)
    sim = SimulatedStream(scheduler=scheduler, page_size=1, faults=cut)
    reader = read(sim, scheduler, start="trim_horizon")
    scheduler.advance_by(600)
    for n in range(20):
        sim.put(f"item-{n}")
    sim.roll_over()
    scheduler.advance_by(3600)
    assert reader.ids == ids(sim.records)


def test_a_look_up_in_a_long_listing_goes_on_from_its_last_page_however_many_fail(scheduler):
    sim = SimulatedStream(scheduler=scheduler, shards=40, listing_page_size=2)
    last = sim.shards[-1].id

    class CutTwice:
        """The answers to one shard, when told to."""

        def __init__(self):
            self.left = 0
            self.of_last = set()

        def __getattr__(self, name):
            return getattr(sim.client, name)

        def get_shard_iterator(self, **arguments):
            answer = sim.client.get_shard_iterator(**arguments)
            if arguments["ShardId"] == last:
                self.of_last.add(answer["ShardIterator"])
            return answer

        def get_records(self, **arguments):
            if arguments["ShardIterator"] not in self.of_last:
                return sim.client.get_records(**arguments)
            if self.left:
                self.left -= 1
                return {}
            answer = sim.client.get_records(**arguments)
            self.of_last.add(answer["NextShardIterator"])
            return answer

    client = CutTwice()
    reader = read(sim, scheduler, client=client)
    scheduler.advance_by(10)
    client.left = 2
    # Two of three calls are throttled: a look-up that began anew each time would never end.
    sim.script("DescribeStream", *["LimitExceededException", "LimitExceededException", None] * 1000)
    sim.put_into(last, "a")
    calls = sim.calls["DescribeStream"]
    scheduler.advance_by(40)
    assert reader.ids == ids(sim.records)
    assert sim.calls["DescribeStream"] - calls <= 3 * 20 + 3


@pytest.mark.parametrize("poll", [rxd.Poll(), rxd.Poll(calls_per_second=10)])
def test_a_wall_clock_that_is_set_back_by_an_hour_holds_up_nothing(scheduler, poll):
    sim = SimulatedStream(scheduler=scheduler)
    wrong = SetBack(scheduler)
    reader = read(sim, wrong, poll=poll)
    scheduler.advance_by(30)
    wrong.by = timedelta(hours=1)
    sim.roll_over()
    sim.put("a")
    scheduler.advance_by(70)
    assert reader.ids == ids(sim.records)


def test_patience_is_not_measured_by_a_wall_clock_that_is_set_back(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.script("GetRecords", *["ThrottlingException"] * 1000)
    wrong = SetBack(scheduler)
    reader = read(sim, wrong, poll=rxd.Poll(give_up_after=60))
    scheduler.advance_by(10)
    wrong.by = timedelta(hours=1)
    scheduler.advance_by(140)
    assert isinstance(reader.error, Throttled)


@pytest.mark.parametrize("operation", ["GetShardIterator", "GetRecords"])
@pytest.mark.parametrize(("failures", "told", "reads_all"), [(1, 1, False), (2, 2, False), (3, 2, True)])
def test_some_500s_in_a_row_are_taken_for_a_time_that_is_not_known(
    scheduler, operation, failures, told, reads_all
):
    sim = SimulatedStream(scheduler=scheduler, page_size=100)
    for n in range(3000):
        sim.put("a", n=n)
    scheduler.advance_by(7200)
    sim.put("a")
    sim.script(operation, *["InternalServerError"] * failures)
    reader = read(sim, scheduler, start="15m")
    scheduler.advance_by(3)
    assert reader.ids == ids(sim.records[-1:])
    assert len(of_kind(reader, rxd.Retrying)) == told
    assert (sim.calls["GetRecords"] > 30) is reads_all


def test_iterators_that_are_trimmed_when_they_are_made_are_asked_for_with_pauses_and_told_once(scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("a")
    reader = read(sim, scheduler, start="trim_horizon", on_gap="skip")
    scheduler.advance_by(5)
    sim.script("GetRecords", "ExpiredIteratorException")
    sim.script("GetShardIterator", *["TrimmedDataAccessException"] * 100_000)
    calls = sim.calls["GetShardIterator"]
    scheduler.advance_by(600)
    assert 100 < sim.calls["GetShardIterator"] - calls < 400
    assert len(of_kind(reader, rxd.Gap)) == 1


def test_a_change_that_becomes_visible_late_is_not_skipped_by_an_iterator_that_expires(scheduler):
    sim = SimulatedStream(scheduler=scheduler)

    class Late:
        """Records can be read a second after they were made."""

        def __getattr__(self, name):
            return getattr(sim.client, name)

        def get_records(self, **arguments):
            answer = sim.client.get_records(**arguments)
            made = [record["dynamodb"]["ApproximateCreationDateTime"] for record in answer["Records"]]
            if any(at > scheduler.now - timedelta(seconds=1) for at in made):
                return {"Records": [], "NextShardIterator": arguments["ShardIterator"]}
            return answer

    reader = read(sim, scheduler, client=Late(), poll=rxd.Poll(fastest=0.25, slowest=0.25))
    scheduler.advance_by(10.1)
    sim.put("a")
    scheduler.advance_by(0.6)
    sim.script("GetRecords", "ExpiredIteratorException")
    scheduler.advance_by(60)
    assert reader.ids == ids(sim.records)


@pytest.mark.parametrize("code", ["ExpiredIteratorException", "TrimmedDataAccessException"])
def test_a_service_that_says_so_each_time_is_not_asked_without_pause(scheduler, code):
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("a")
    sim.script("GetRecords", *[code] * 100_000)
    read(sim, scheduler, start="trim_horizon")
    scheduler.advance_by(600)
    assert sim.calls["GetRecords"] < 300
