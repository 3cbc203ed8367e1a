"""The simulated stream answers as DynamoDB Streams does."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.model import Shape
from hypothesis import given
from hypothesis import strategies as st
from reactivex.testing import TestScheduler

from rxddbstream.testing import Faults, SimulatedStream, build_shards
from rxddbstream.testing.shapes import HASH_SPACE

MODEL = botocore.session.get_session().get_service_model("dynamodbstreams")


def iterator(sim: SimulatedStream, shard_id: str, kind: str = "TRIM_HORIZON", **more: Any) -> str:
    answer = sim.client.get_shard_iterator(
        StreamArn=sim.arn, ShardId=shard_id, ShardIteratorType=kind, **more
    )
    token: str = answer["ShardIterator"]
    return token


def pages(sim: SimulatedStream, token: str | None, **more: Any) -> Iterator[dict[str, Any]]:
    """The pages from an iterator on, to the end of the shard or until nothing more comes."""
    idle = 0
    while token and idle < 10:
        page = sim.client.get_records(ShardIterator=token, **more)
        yield page
        token = page.get("NextShardIterator")
        idle = 0 if page["Records"] else idle + 1


def read(sim: SimulatedStream, token: str, **more: Any) -> list[dict[str, Any]]:
    return [record for page in pages(sim, token, **more) for record in page["Records"]]


def listing(sim: SimulatedStream, **more: Any) -> list[dict[str, Any]]:
    shards: list[dict[str, Any]] = []
    while True:
        answer = sim.client.describe_stream(StreamArn=sim.arn, **more)["StreamDescription"]
        shards += answer["Shards"]
        if "LastEvaluatedShardId" not in answer:
            return shards
        more["ExclusiveStartShardId"] = answer["LastEvaluatedShardId"]


def listed(sim: SimulatedStream, **more: Any) -> list[str]:
    return [shard["ShardId"] for shard in listing(sim, **more)]


def children_of(sim: SimulatedStream, shard_id: str) -> list[str]:
    return listed(sim, ShardFilter={"Type": "CHILD_SHARDS", "ShardId": shard_id})


def images(records: list[dict[str, Any]]) -> list[int]:
    return [int(record["dynamodb"]["NewImage"]["n"]["N"]) for record in records]


def fails(code: str) -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\)")


@pytest.fixture
def clock() -> TestScheduler:
    return TestScheduler()


def test_the_answers_have_the_shapes_of_botocore() -> None:
    sim = SimulatedStream(shards=build_shards(3, "chain"), listing_page_size=2)
    sim.put("a", n=1, b=b"\0", d=Decimal("1.5"), none=None, flag=True, deep=[{"x": ["y"]}], s={"b"})
    sim.put("a", n=2)
    sim.remove("a", by_ttl=True)
    token = iterator(sim, sim.shards[-1].id)
    answers = {
        "ListStreams": sim.client.list_streams(TableName="orders"),
        "DescribeStream": sim.client.describe_stream(StreamArn=sim.arn),
        "GetShardIterator": {"ShardIterator": token, "ResponseMetadata": {}},
        "GetRecords": sim.client.get_records(ShardIterator=token),
    }
    for operation, answer in answers.items():
        assert answer.pop("ResponseMetadata") is not None
        check_shape(answer, MODEL.operation_model(operation).output_shape, operation)
    description = answers["DescribeStream"]["StreamDescription"]
    assert set(description) == set(MODEL.shape_for("StreamDescription").members)
    full = answers["GetRecords"]["Records"][2]
    assert set(full) == set(MODEL.shape_for("Record").members)
    assert full["dynamodb"].keys() == MODEL.shape_for("StreamRecord").members.keys() - {"NewImage"}


def check_shape(value: Any, shape: Shape, path: str) -> None:
    """Each member is known to the service's model, and has the type that boto3 gives it."""
    match shape.type_name:
        case "structure":
            assert value.keys() <= shape.members.keys(), path
            for name, member in value.items():
                check_shape(member, shape.members[name], f"{path}.{name}")
        case "list":
            for element in value:
                check_shape(element, shape.member, f"{path}[]")
        case "map":
            for name, element in value.items():
                check_shape(element, shape.value, f"{path}.{name}")
        case "timestamp":
            assert isinstance(value, datetime), path
            assert value.tzinfo is not None, path
        case name:
            kinds = {"string": str, "blob": bytes, "boolean": bool}
            assert isinstance(value, kinds.get(name, int)), path
            if name == "string":
                assert shape.metadata.get("min", 0) <= len(value) <= shape.metadata.get("max", 9999)
                assert value in shape.enum or not shape.enum, path


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("get_records", {}),
        ("get_records", {"ShardIterator": "x", "Foo": 1}),
        ("get_records", {"ShardIterator": None}),
        ("get_records", {"ShardIterator": "x", "Limit": 0}),
        ("get_records", {"ShardIterator": "x", "Limit": "1"}),
        ("describe_stream", {"StreamArn": "short"}),
        ("describe_stream", {"StreamArn": "a" * 40, "ExclusiveStartShardId": None}),
        ("list_streams", {"TableName": "t"}),
        ("get_shard_iterator", {"StreamArn": "a" * 40, "ShardId": "s" * 30}),
    ],
)
def test_it_refuses_what_boto3_refuses_in_the_same_words(operation: str, arguments: dict[str, Any]) -> None:
    session = botocore.session.get_session()
    real = session.create_client(
        "dynamodbstreams",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    sim = SimulatedStream()
    with pytest.raises(ParamValidationError) as expected:
        getattr(real, operation)(**arguments)
    with pytest.raises(ParamValidationError) as refused:
        getattr(sim.client, operation)(**arguments)
    assert str(refused.value) == str(expected.value)
    assert not sim.calls


def test_records_tell_what_happened_to_an_item() -> None:
    sim = SimulatedStream()
    assert sim.put("a", n=1)["dynamodb"]["NewImage"] == {"id": {"S": "a"}, "n": {"N": "1"}}
    changed = sim.put("a", n=2)
    removed = sim.remove("a")
    assert removed is not None
    assert sim.remove("a") is None
    assert [record["eventName"] for record in sim.records] == ["INSERT", "MODIFY", "REMOVE"]
    assert changed["dynamodb"]["OldImage"]["n"] == {"N": "1"}
    assert removed["dynamodb"]["OldImage"]["n"] == {"N": "2"}
    assert removed["dynamodb"]["Keys"] == {"id": {"S": "a"}}
    assert "NewImage" not in removed["dynamodb"]
    assert "userIdentity" not in removed
    assert sim.put("a", n=3)["eventName"] == "INSERT"
    assert len({record["eventID"] for record in sim.records}) == 4


@pytest.mark.parametrize(
    ("view_type", "shown"),
    [
        ("KEYS_ONLY", set()),
        ("NEW_IMAGE", {"NewImage"}),
        ("OLD_IMAGE", {"OldImage"}),
        ("NEW_AND_OLD_IMAGES", {"NewImage", "OldImage"}),
    ],
)
def test_the_view_type_says_which_images_are_shown(view_type: Any, shown: set[str]) -> None:
    sim = SimulatedStream(view_type=view_type)
    sim.put("a")
    assert sim.put("a")["dynamodb"].keys() & {"NewImage", "OldImage"} == shown


def test_sequence_numbers_grow_as_numbers_and_not_as_strings() -> None:
    sim = SimulatedStream()
    numbers = [sim.put("a")["dynamodb"]["SequenceNumber"] for _ in range(30)]
    assert [int(number) for number in numbers] == sorted(map(int, numbers))
    assert numbers != sorted(numbers)
    assert min(map(len, numbers)) >= 21


def test_an_items_records_stay_in_one_line_of_shards() -> None:
    sim = SimulatedStream(shards=2)
    for step in range(6):
        for key in range(40):
            sim.put(key, n=step)
        sim.split(next(shard.id for shard in sim.shards if not shard.is_closed))
        sim.roll_over()
    parents = {shard.id: shard.parent_id for shard in sim.shards}
    line: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for shard in sim.shards:  # parents first
        records = sim.records_of(shard.id)
        for record, n in zip(records, images(records), strict=True):
            line[record["dynamodb"]["Keys"]["id"]["N"]].append((shard.id, n))
    assert len(line) == 40
    for places in line.values():
        assert [n for _, n in places] == list(range(6))
        for (one, _), (other, _) in pairwise(places):
            ancestor: str | None = other
            while ancestor not in (one, None):
                ancestor = parents[ancestor]
            assert ancestor == one


@given(st.data())
def test_any_history_divides_the_hashes_and_orders_the_numbers(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 30))
    parents = [data.draw(st.none() | st.integers(0, i - 1)) if i else None for i in range(n)]
    shape: Any = data.draw(st.sampled_from(["roots", "chain", "tree", "random", parents]))
    shards = build_shards(n, shape)
    ranges = sorted((shard.low, shard.high) for shard in shards if not shard.is_closed)
    assert [low for low, _ in ranges] == [0, *(high for _, high in ranges)][: len(ranges)]
    assert not ranges or ranges[-1][1] == HASH_SPACE

    sim = SimulatedStream(shards=shards)
    assert sim.shards == shards
    for shard in reversed(shards):  # in whatever order history is written
        sim.put_into(shard.id, "a")
    numbers = {shard["ShardId"]: shard["SequenceNumberRange"] for shard in listing(sim)}
    for shard in shards:
        starting = int(numbers[shard.id]["StartingSequenceNumber"])
        [record] = sim.records_of(shard.id)
        assert starting <= int(record["dynamodb"]["SequenceNumber"])
        assert shard.is_closed == ("EndingSequenceNumber" in numbers[shard.id])
        if shard.parent_id:
            assert int(numbers[shard.parent_id]["EndingSequenceNumber"]) < starting


def test_shapes() -> None:
    assert [shard.parent_id for shard in build_shards(3)] == [None] * 3
    chain = build_shards(3, "chain")
    assert [shard.parent_id for shard in chain] == [None, chain[0].id, chain[1].id]
    assert build_shards(50, "random", seed=1) == build_shards(50, "random", seed=1)
    assert build_shards(50, "random", seed=1) != build_shards(50, "random", seed=2)
    histories = [build_shards(50, "random", seed=seed) for seed in range(20)]
    assert {sum(s.parent_id is None for s in shards) for shards in histories} == {1, 2, 3}
    with pytest.raises(ValueError, match="each before its children"):
        build_shards(2, [None, 1])
    with pytest.raises(ValueError, match="no such shape"):
        build_shards(2, "star")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same ID"):
        SimulatedStream(shards=[*chain, chain[0]])


def test_orphans_and_a_shard_that_is_its_own_parent_can_be_listed() -> None:
    [orphan] = build_shards(2, "chain")[1:]
    sim = SimulatedStream(shards=[orphan])
    assert listing(sim)[0]["ParentShardId"] == orphan.parent_id
    with fails("ResourceNotFoundException"):
        children_of(sim, str(orphan.parent_id))
    sim.roll_over()
    loop = SimulatedStream(shards=[replace(orphan, parent_id=orphan.id)])
    assert children_of(loop, orphan.id) == [orphan.id]


def test_the_listing_comes_in_pages() -> None:
    sim = SimulatedStream(shards=build_shards(250, "random"))
    assert listed(sim) == [shard.id for shard in sim.shards]
    assert sim.calls["DescribeStream"] == 3
    assert listed(sim, Limit=7) == listed(sim)
    with fails("ValidationException"):
        listed(sim, ExclusiveStartShardId="shardId-that-there-never-was-at-all")


def test_the_listing_goes_on_after_a_shard_that_has_vanished() -> None:
    sim = SimulatedStream(shards=build_shards(4, "chain"))
    closed = sim.shards[2].id
    sim.trim()
    assert listed(sim, ExclusiveStartShardId=closed) == [sim.shards[-1].id]


def test_children_can_be_asked_for() -> None:
    sim = SimulatedStream(shards=3)
    parent = sim.shards[1].id
    left, right = sim.split(parent)
    assert children_of(sim, parent) == [left.id, right.id]
    assert children_of(sim, left.id) == []
    assert listing(sim)[1]["SequenceNumberRange"]["EndingSequenceNumber"]
    with fails("ValidationException"):
        listed(sim, ShardFilter={"Type": "PARENTS", "ShardId": parent})
    ignorant = SimulatedStream(shards=3, supports_shard_filter=False)
    assert len(children_of(ignorant, ignorant.shards[1].id)) == 3


def test_a_new_shard_is_listed_after_the_delay_and_read_before(clock: TestScheduler) -> None:
    sim = SimulatedStream(scheduler=clock, listing_delay=5.0)
    parent = sim.shards[0].id
    [child] = sim.roll_over(parent)
    sim.put("a", n=1)
    assert listed(sim) == [parent]
    assert children_of(sim, parent) == []
    assert images(read(sim, iterator(sim, child.id))) == [1]
    clock.advance_by(5)
    assert children_of(sim, parent) == [child.id]
    assert listed(sim) == [parent, child.id]


def test_an_iterator_stays_where_it_was_made() -> None:
    sim = SimulatedStream()
    shard = sim.shards[0].id
    for n in range(3):
        sim.put("a", n=n)
    latest, oldest = iterator(sim, shard, "LATEST"), iterator(sim, shard, "TRIM_HORIZON")
    sim.put("a", n=3)
    assert images(read(sim, latest)) == [3]
    assert images(read(sim, oldest)) == [0, 1, 2, 3]
    assert images(read(sim, oldest)) == [0, 1, 2, 3]


def test_iterators_by_sequence_number() -> None:
    sim = SimulatedStream()
    shard = sim.shards[0].id
    numbers = [sim.put("a", n=n)["dynamodb"]["SequenceNumber"] for n in range(20)]
    for n, number in enumerate(numbers):
        at = iterator(sim, shard, "AT_SEQUENCE_NUMBER", SequenceNumber=number)
        after = iterator(sim, shard, "AFTER_SEQUENCE_NUMBER", SequenceNumber=number)
        assert images(read(sim, at)) == list(range(n, 20))
        assert images(read(sim, after)) == list(range(n + 1, 20))
    for text in ("no number at all, of any kind", None):
        with fails("ValidationException"):
            iterator(sim, shard, "AT_SEQUENCE_NUMBER", **({"SequenceNumber": text} if text else {}))
    with fails("ValidationException"):
        iterator(sim, shard, "NEWEST")


def test_iterators_by_time(clock: TestScheduler) -> None:
    sim = SimulatedStream(scheduler=clock, retention=timedelta(seconds=100))
    shard = sim.shards[0].id
    for n in range(5):
        clock.advance_to(n * 10)
        sim.put("a", n=n)
    for seconds, first in ((0, 0), (0.5, 1), (10, 1), (39, 4), (40, 4)):
        time = datetime.fromtimestamp(seconds, UTC)
        for value in (time, time.astimezone(), time.isoformat(), seconds):
            token = iterator(sim, shard, "AT_TIMESTAMP", Timestamp=value)
            assert images(read(sim, token)) == list(range(first, 5))
    with fails("ValidationException"):
        iterator(sim, shard, "AT_TIMESTAMP", Timestamp=41)
    with fails("ValidationException"):
        iterator(sim, shard, "AT_TIMESTAMP")
    clock.advance_to(125)
    assert images(read(sim, iterator(sim, shard, "AT_TIMESTAMP", Timestamp=0))) == [3, 4]
    older = SimulatedStream(scheduler=clock, supports_at_timestamp=False)
    with fails("ValidationException"):
        iterator(older, older.shards[0].id, "AT_TIMESTAMP", Timestamp=0)


def test_iterators_never_repeat_and_expire(clock: TestScheduler) -> None:
    sim = SimulatedStream(scheduler=clock)
    shard = sim.shards[0].id
    tokens = [iterator(sim, shard) for _ in range(50)]
    tokens += [page["NextShardIterator"] for page in pages(sim, tokens[0])]
    assert len(set(tokens)) == len(tokens)
    clock.advance_by(timedelta(minutes=15).total_seconds())
    fresh = sim.client.get_records(ShardIterator=tokens[0])["NextShardIterator"]
    clock.advance_by(1)
    with fails("ExpiredIteratorException"):
        read(sim, tokens[0])
    assert read(sim, fresh) == []
    for wrong in ("x", f"{sim.arn}|1|x", f"{sim.arn}|1|{'a' * 40}"):
        with fails("ValidationException"):
            read(sim, wrong)
    other = SimulatedStream("invoices")
    with fails("ResourceNotFoundException"):
        read(sim, iterator(other, other.shards[0].id))


@pytest.mark.parametrize("empty_pages", [0, 2])
@pytest.mark.parametrize("with_last_page", [False, True])
def test_pages_of_a_closed_shard(empty_pages: int, with_last_page: bool) -> None:
    sim = SimulatedStream(page_size=4, empty_pages=empty_pages, records_with_last_page=with_last_page)
    for n in range(10):
        sim.put("a", n=n)
    shard = sim.shards[0].id
    token = iterator(sim, shard)
    sim.close(shard)
    sizes = [len(page["Records"]) for page in pages(sim, token)]
    empty = [0] * empty_pages
    end = [] if with_last_page else [0]
    assert sizes == [*empty, 4, *empty, 4, *empty, 2, *end]
    *_, last = pages(sim, token)
    assert "NextShardIterator" not in last
    assert images(read(sim, token, Limit=3)) == list(range(10))
    assert max(len(page["Records"]) for page in pages(sim, token, Limit=3)) == 3
    assert max(len(page["Records"]) for page in pages(sim, token, Limit=1000)) == 4
    with fails("LimitExceededException"):
        read(sim, token, Limit=1001)
    assert [len(page["Records"]) for page in pages(sim, iterator(sim, shard, "LATEST"))] == [0]


def test_an_open_shard_always_goes_on() -> None:
    sim = SimulatedStream(records_with_last_page=True)
    sim.put("a", n=1)
    token = iterator(sim, sim.shards[0].id)
    *_, last = pages(sim, token)
    sim.put("a", n=2)
    assert images(read(sim, last["NextShardIterator"])) == [2]


def test_trimmed_records_are_out_of_reach(clock: TestScheduler) -> None:
    sim = SimulatedStream(scheduler=clock, retention=timedelta(seconds=60))
    shard = sim.shards[0].id
    numbers = []
    for n in range(4):
        clock.advance_to(n * 10)
        numbers.append(sim.put("a", n=n)["dynamodb"]["SequenceNumber"])
    oldest = iterator(sim, shard)
    clock.advance_to(75)
    assert images(read(sim, iterator(sim, shard))) == [2, 3]
    with fails("TrimmedDataAccessException"):
        read(sim, oldest)
    for kind, n in (
        ("AT_SEQUENCE_NUMBER", 1),
        ("AFTER_SEQUENCE_NUMBER", 1),
        ("AFTER_SEQUENCE_NUMBER", 0),
    ):
        with fails("TrimmedDataAccessException"):
            iterator(sim, shard, kind, SequenceNumber=numbers[n])
    assert images(read(sim, iterator(sim, shard, "AT_SEQUENCE_NUMBER", SequenceNumber=numbers[2])))
    sim.trim(datetime.fromtimestamp(30, UTC))
    assert images(read(sim, iterator(sim, shard))) == [3]
    sim.trim()
    assert read(sim, iterator(sim, shard)) == []
    assert len(sim.records) == len(sim.records_of(shard)) == 4


def test_a_closed_shard_vanishes_with_its_records(clock: TestScheduler) -> None:
    sim = SimulatedStream(scheduler=clock, retention=timedelta(seconds=60))
    parent = sim.shards[0].id
    sim.put("a", n=1)
    token = iterator(sim, parent)
    clock.advance_to(30)
    [child] = sim.roll_over()
    clock.advance_to(90)
    assert listed(sim) == [parent, child.id]
    clock.advance_to(91)
    assert listed(sim) == [child.id]
    assert [shard.id for shard in sim.shards] == [child.id]
    assert listing(sim)[0]["ParentShardId"] == parent
    for call in (
        lambda: iterator(sim, parent),
        lambda: read(sim, token),
        lambda: children_of(sim, parent),
        lambda: iterator(sim, "shardId-that-there-never-was-at-all"),
    ):
        with fails("ResourceNotFoundException"):
            call()
    assert len(sim.records_of(parent)) == 1


def test_history_that_is_written_later_is_kept_longer(clock: TestScheduler) -> None:
    sim = SimulatedStream(scheduler=clock, retention=timedelta(seconds=60), shards=build_shards(3, "chain"))
    first, middle, last = (shard.id for shard in sim.shards)
    clock.advance_to(50)
    sim.put_into(first, "a", n=1)
    clock.advance_to(100)
    assert images(read(sim, iterator(sim, first))) == [1]
    assert middle not in listed(sim)
    assert children_of(sim, first) == []
    clock.advance_to(111)
    assert listed(sim) == [last]


def test_a_shard_is_closed_once_and_for_all() -> None:
    sim = SimulatedStream(shards=build_shards(1)[:1])
    shard = sim.shards[0].id
    sim.close(shard)
    with pytest.raises(ValueError, match="closed already"):
        sim.split(shard)
    with pytest.raises(RuntimeError, match="no open shard"):
        sim.put("a")
    with pytest.raises(ValueError, match="not when the simulation began"):
        sim.put_into(shard, "a")
    assert sim.records == []


def test_a_closed_shards_items_do_not_go_to_its_neighbour() -> None:
    sim = SimulatedStream(shards=2)
    sim.close(sim.shards[1].id)
    refused = 0
    for key in range(20):
        try:
            sim.put(key)
        except RuntimeError:
            refused += 1
    assert 0 < refused < 20
    assert len(sim.records) == 20 - refused


def test_a_disabled_stream_can_be_read_to_its_end() -> None:
    sim = SimulatedStream(shards=3)
    sim.put("a", n=1)
    sim.disable()
    description = sim.client.describe_stream(StreamArn=sim.arn)["StreamDescription"]
    assert description["StreamStatus"] == "DISABLED"
    assert all(shard.is_closed for shard in sim.shards)
    tokens = [iterator(sim, shard.id) for shard in sim.shards]
    assert [n for token in tokens for n in images(read(sim, token))] == [1]
    assert sim.client.list_streams(TableName="orders")["Streams"]


def test_streams_that_are_not_there() -> None:
    sim = SimulatedStream()
    shard = sim.shards[0].id
    token = iterator(sim, shard)
    assert sim.client.list_streams(TableName="invoices")["Streams"] == []
    assert sim.client.list_streams(ExclusiveStartStreamArn=sim.arn)["Streams"] == []
    with fails("ResourceNotFoundException"):
        sim.client.describe_stream(StreamArn=sim.arn.replace("orders", "invoices"))
    sim.delete()
    for call in (
        lambda: sim.client.list_streams(TableName="orders"),
        lambda: listed(sim),
        lambda: iterator(sim, shard),
        lambda: read(sim, token),
    ):
        with fails("ResourceNotFoundException"):
            call()


def test_times(clock: TestScheduler) -> None:
    clock.advance_to(1.75)
    exact = SimulatedStream(scheduler=clock).put("a")["dynamodb"]
    whole = SimulatedStream(scheduler=clock, whole_second_times=True).put("a")["dynamodb"]
    assert exact["ApproximateCreationDateTime"] == datetime(1970, 1, 1, 0, 0, 1, 750_000, UTC)
    assert whole["ApproximateCreationDateTime"] == datetime(1970, 1, 1, 0, 0, 1, 0, UTC)
    real = SimulatedStream().put("a")["dynamodb"]["ApproximateCreationDateTime"]
    assert abs(datetime.now(UTC) - real) < timedelta(minutes=1)


def test_a_hook_before_each_call_may_write_and_may_raise() -> None:
    sim = SimulatedStream()
    token = iterator(sim, sim.shards[0].id)
    seen = []

    def hook(operation: str, arguments: dict[str, Any]) -> None:
        seen.append((operation, arguments))
        if len(seen) == 2:
            raise ConnectionResetError
        sim.put("a", n=len(seen))

    sim.before_call = hook
    assert images(sim.client.get_records(ShardIterator=token, Limit=5)["Records"]) == [1]
    with pytest.raises(ConnectionResetError):
        sim.client.get_records(ShardIterator=token)
    assert seen[0] == ("GetRecords", {"ShardIterator": token, "Limit": 5})
    assert sim.calls == {"GetShardIterator": 1, "GetRecords": 2}


def test_a_script_of_outcomes() -> None:
    sim = SimulatedStream()
    sim.put("a", n=1)
    token = iterator(sim, sim.shards[0].id)
    sim.script("GetRecords", None, "InternalServerError", TimeoutError("late"), {})
    assert len(sim.client.get_records(ShardIterator=token)["Records"]) == 1
    with fails("InternalServerError") as caught:
        sim.client.get_records(ShardIterator=token)
    assert caught.value.operation_name == "GetRecords"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    with pytest.raises(TimeoutError):
        sim.client.get_records(ShardIterator=token)
    assert sim.client.get_records(ShardIterator=token).keys() == {"ResponseMetadata"}
    assert len(sim.client.get_records(ShardIterator=token)["Records"]) == 1
    with pytest.raises(KeyError):
        sim.script("GetRecord")


def outcomes(faults: Faults, calls: int = 300) -> list[str]:
    sim = SimulatedStream(faults=faults)
    sim.put("a")
    names = []
    for _ in range(calls):
        try:
            names.append("truncated" if "Streams" not in sim.client.list_streams() else "answer")
        except ClientError as error:
            names.append(error.response["Error"]["Code"])
        except (ConnectionClosedError, ReadTimeoutError) as error:
            names.append(type(error).__name__)
    return names


def test_faults_come_from_their_seed() -> None:
    faults = Faults(seed=3, throttle=0.1, server_error=0.1, reset=0.1, timeout=0.1, truncate=0.1)
    first = outcomes(faults)
    assert first == outcomes(faults)
    assert first != outcomes(replace(faults, seed=4))
    assert set(first) == {
        "answer",
        "truncated",
        "ThrottlingException",
        "InternalServerError",
        "ConnectionClosedError",
        "ReadTimeoutError",
    }
    assert 0.4 < first.count("answer") / len(first) < 0.6
    limited = outcomes(replace(faults, limit=7))
    assert len(limited) - limited.count("answer") == 7
    assert set(outcomes(Faults())) == {"answer"}


def test_iterators_can_be_made_to_expire_early(clock: TestScheduler) -> None:
    sim = SimulatedStream(scheduler=clock, faults=Faults(expire_after=2.0))
    token = iterator(sim, sim.shards[0].id)
    clock.advance_by(2)
    read(sim, token)
    clock.advance_by(1)
    with fails("ExpiredIteratorException"):
        read(sim, token)


def test_many_threads_write_reshape_and_read() -> None:
    sim = SimulatedStream(shards=4)
    failures: list[BaseException] = []

    def work(writer: int) -> None:
        try:
            for n in range(100):
                sim.put(f"{writer}-{n}", n=n)
                if n % 25 == 0:
                    sim.roll_over()
                read(sim, iterator(sim, sim.shards[n % 4].id))
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = [record for shard in sim.shards for record in read(sim, iterator(sim, shard.id))]
    assert len(found) == len(sim.records) == 800
    assert {id(record) for record in found} == {id(record) for record in sim.records}


def test_a_service_whose_clock_is_off_tells_its_time_in_each_answer() -> None:
    scheduler = TestScheduler()
    scheduler.advance_to(1_700_000_000.0)
    sim = SimulatedStream(scheduler=scheduler, ahead=timedelta(minutes=-4))
    sim.script("DescribeStream", None, "ThrottlingException")

    answered = sim.client.describe_stream(StreamArn=sim.arn)
    with pytest.raises(ClientError) as raised:
        sim.client.describe_stream(StreamArn=sim.arn)

    for metadata in (answered["ResponseMetadata"], raised.value.response["ResponseMetadata"]):
        assert metadata["HTTPHeaders"] == {"date": "Tue, 14 Nov 2023 22:09:20 GMT"}
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
