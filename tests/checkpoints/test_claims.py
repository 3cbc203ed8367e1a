"""DynamoDB: one consumer is one process."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from support.checkpoints import (
    FIRST,
    OTHER,
    SECOND,
    STREAM,
    TABLE,
    THIRD,
    dynamodb_store,
    ready,
    subscribed,
    taken_over,
)

import rxddbstream as rxd
from rxddbstream.checkpoints.store import PERIOD
from rxddbstream.errors import CheckpointError, CheckpointLocked, Throttled, TransientError
from rxddbstream.testing import SimulatedStream

PATIENCE = 3 * PERIOD


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Process:
    """A consumer's process, with a monotonic clock that has nothing to do with another one's."""

    def __init__(self, client: Any, boot: float, **options: Any) -> None:
        self.store = rxd.DynamoDBCheckpoints(TABLE, consumer="mailer", client=client, **options)
        self._clock = Clock()
        self._clock.now = boot
        self.store._clock = self._clock

    def wait(self, seconds: float) -> None:
        self._clock.now += seconds

    def load(self) -> dict[str, str]:
        return dict(self.store.load(STREAM))


@pytest.fixture
def first(dynamodb: Any) -> Process:
    """One that is at work."""
    process = Process(dynamodb, boot=5.0)
    ready(process.store)
    process.store.save(STREAM, {"shard-1": FIRST})
    return process


@pytest.fixture
def second(dynamodb: Any) -> Process:
    return Process(dynamodb, boot=9e6)


def items(dynamodb: Any) -> dict[str, Any]:
    return {item["shard"]["S"]: item for item in dynamodb.scan(TableName=TABLE)["Items"]}


def test_a_second_process_is_refused_as_soon_as_the_first_shows_that_it_lives(first, second):
    with pytest.raises(TransientError, match="taken over when that one has shown no sign of life for 15 s"):
        second.load()
    first.wait(5.0)
    first.store.renew(STREAM)
    second.wait(1.0)
    with pytest.raises(CheckpointLocked, match="'mailer' of checkpoint table 'checkpoints' is in use"):
        second.load()
    first.store.save(STREAM, {"shard-1": SECOND})


def test_what_is_saved_is_a_sign_of_life(first, second):
    with pytest.raises(TransientError):
        second.load()
    first.store.save(STREAM, {"shard-1": SECOND})
    second.wait(1000.0)
    with pytest.raises(CheckpointLocked):
        second.load()


def test_a_dead_one_is_taken_over_after_a_bounded_time_by_ones_own_clock(first, second):
    with pytest.raises(TransientError):
        second.load()
    second.wait(PATIENCE - 0.1)
    with pytest.raises(TransientError):
        second.load()
    second.wait(0.1)
    assert second.load() == {"shard-1": FIRST}


@pytest.mark.parametrize(("period", "patience"), [(60.0, 180), (0.1, 3)])
def test_one_that_writes_seldom_is_waited_for_longer(dynamodb, second, period, patience):
    first = Process(dynamodb, boot=0.0, period=period)
    ready(first.store)
    with pytest.raises(TransientError, match=f"no sign of life for {patience} s"):
        second.load()
    second.wait(patience - 0.5)
    with pytest.raises(TransientError):
        second.load()
    second.wait(0.5)
    assert second.load() == {}


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.save(STREAM, {"shard-1": THIRD}),
        lambda store: store.save(STREAM, {"shard-new": FIRST}),
        lambda store: store.save(STREAM, {f"shard-{n:03}": THIRD for n in range(250)}),
        lambda store: store.forget(STREAM, ["shard-1"]),
        lambda store: store.renew(STREAM),
    ],
)
@pytest.mark.parametrize("ended", [False, True])
def test_a_thawed_one_writes_nothing(dynamodb, first, second, write, ended):
    taken_over(second.store)
    if ended:
        second.store.close(STREAM)
    before = items(dynamodb)
    first.wait(3600.0)
    with pytest.raises(CheckpointLocked, match="was taken over by another process"):
        write(first.store)
    first.store.close(STREAM)
    assert items(dynamodb) == before


def test_after_an_orderly_end_the_next_one_begins_at_once(dynamodb, first, second):
    first.store.close(STREAM)
    assert second.load() == {"shard-1": FIRST}
    second.store.close(STREAM)
    assert items(dynamodb).keys() == {f"{STREAM}/shard-1"}


def test_of_two_that_wait_one_takes_over(dynamodb, first, second):
    third = Process(dynamodb, boot=70.0)
    for process in (second, third):
        with pytest.raises(TransientError):
            process.load()
        process.wait(PATIENCE)
    second.load()
    with pytest.raises(CheckpointLocked):
        third.load()


def test_who_was_quicker_is_seen(dynamodb, first, second):
    class Raced:
        """Somebody takes over between the look and the claim."""

        def __getattr__(self, name: str) -> Any:
            return getattr(dynamodb, name)

        def update_item(self, **arguments: Any) -> Any:
            taken_over(second.store)
            return dynamodb.update_item(**arguments)

    third = Process(Raced(), boot=0.0)
    with pytest.raises(TransientError):
        third.load()
    third.wait(PATIENCE)
    with pytest.raises(TransientError, match="in this moment"):
        third.load()
    second.store.save(STREAM, {"shard-1": SECOND})


def test_a_table_of_before_has_no_claim(dynamodb, first, second):
    claim = {"consumer": {"S": "mailer"}, "shard": {"S": f"*claim/{STREAM}"}}
    dynamodb.delete_item(TableName=TABLE, Key=claim)
    assert second.load() == {"shard-1": FIRST}


def test_each_stream_has_a_claim_of_its_own(first, second):
    assert dict(second.store.load(OTHER)) == {}
    assert dict(second.store.load(f"{STREAM}0")) == {}
    first.store.save(STREAM, {"shard-1": SECOND})


def test_an_answer_that_was_lost_does_not_lock_one_out(dynamodb):
    class Lossy:
        lost = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(dynamodb, name)

        def update_item(self, **arguments: Any) -> Any:
            answer = dynamodb.update_item(**arguments)
            self.lost += 1
            if self.lost == 1:
                raise ConnectionClosedError(endpoint_url="http://localhost")
            return answer

    process = Process(Lossy(), boot=0.0)
    assert ready(process.store) == {}
    process.store.save(STREAM, {"shard-1": FIRST})


def test_who_tries_again_to_read_the_positions_shows_that_it_lives(dynamodb, second):
    class Throttling:
        def __getattr__(self, name: str) -> Any:
            return getattr(dynamodb, name)

        def query(self, **arguments: Any) -> Any:
            if arguments["ExpressionAttributeValues"][":prefix"]["S"].startswith("*"):
                return dynamodb.query(**arguments)
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow"}}, "Query")

        def delete_item(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow"}}, "DeleteItem")

    first = Process(Throttling(), boot=0.0)
    for _ in range(2):  # it is being made; it is claimed, and cannot be read
        with pytest.raises(TransientError):
            first.load()
    with pytest.raises(TransientError):
        second.load()
    with pytest.raises(Throttled):
        first.load()
    second.wait(PATIENCE)
    with pytest.raises(CheckpointLocked):
        second.load()


def test_who_cannot_read_the_positions_leaves_no_claim(dynamodb):
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(dynamodb, name)

        def query(self, **arguments: Any) -> Any:
            if arguments["ExpressionAttributeValues"][":prefix"]["S"].startswith("*"):
                return dynamodb.query(**arguments)
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "no"}}, "Query")

    process = Process(Broken(), boot=0.0)
    for expected in (TransientError, CheckpointError):  # it is being made; it cannot be read
        with pytest.raises(expected):
            process.load()
    assert items(dynamodb) == {}


def test_what_is_later_already_stays_and_the_rest_is_written(dynamodb, first):
    # By a process of before this was so, which knows of no claim.
    item = {"consumer": {"S": "mailer"}, "shard": {"S": f"{STREAM}/shard-1"}, "position": {"S": THIRD}}
    dynamodb.put_item(TableName=TABLE, Item=item)
    first.store.save(STREAM, {"shard-1": SECOND, "shard-2": SECOND})
    first.store.close(STREAM)
    assert first.load() == {"shard-1": THIRD, "shard-2": SECOND}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("TransactionConflict", TransientError),
        ("ProvisionedThroughputExceeded", Throttled),
        ("ThrottlingError", Throttled),
        ("ValidationError", CheckpointError),
    ],
)
def test_a_transaction_that_was_cancelled_in_passing_is_made_again(dynamodb, code, expected):
    class Cancelling:
        def __getattr__(self, name: str) -> Any:
            return getattr(dynamodb, name)

        def transact_write_items(self, TransactItems: Any) -> Any:  # noqa: N803 - as boto3 has it
            reasons = [{"Code": "None"}] * (len(TransactItems) - 1) + [{"Code": code}]
            answer: Any = {"Error": {"Code": "TransactionCanceledException", "Message": "no"}}
            raise ClientError({**answer, "CancellationReasons": reasons}, "TransactWriteItems")

    process = Process(Cancelling(), boot=0.0)
    ready(process.store)
    with pytest.raises(expected, match="transact_write_items on checkpoint table 'checkpoints'"):
        process.store.save(STREAM, {"shard-1": FIRST})


def test_what_was_written_before_a_save_was_cut_is_not_written_again(dynamodb):
    class Counting:
        calls: list[int] = []  # noqa: RUF012 - of one test

        def __getattr__(self, name: str) -> Any:
            return getattr(dynamodb, name)

        def transact_write_items(self, **arguments: Any) -> Any:
            self.calls.append(len(arguments["TransactItems"]) - 1)
            if len(self.calls) == 2:
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow"}}, "Write")
            return dynamodb.transact_write_items(**arguments)

    process = Process(Counting(), boot=0.0)
    ready(process.store)
    positions = {f"shard-{n:03}": FIRST for n in range(250)}
    with pytest.raises(Throttled):
        process.store.save(STREAM, positions)
    process.store.save(STREAM, positions)
    process.store.save(STREAM, positions)
    assert Counting.calls == [99, 99, 99, 52]
    process.store.close(STREAM)
    assert process.load() == positions


def test_an_idle_subscription_shows_that_it_lives_and_a_second_one_is_refused(dynamodb, scheduler):
    def clock() -> float:
        return scheduler.now.timestamp()

    sim = SimulatedStream(scheduler=scheduler)
    stores = [dynamodb_store(dynamodb) for _ in range(2)]
    for store in stores:
        store._clock = clock
    first = subscribed(sim, scheduler, stores[0])
    scheduler.advance_by(600)
    second = subscribed(sim, scheduler, stores[1])
    scheduler.advance_by(60)
    assert first.error is None
    assert isinstance(second.error, CheckpointLocked)


def test_a_subscription_takes_over_and_the_first_one_ends_when_it_thaws(dynamodb, scheduler):
    sim = SimulatedStream(scheduler=scheduler)
    sim.put("a")
    stores = [dynamodb_store(dynamodb) for _ in range(2)]
    stores[1]._clock = lambda: scheduler.now.timestamp()
    stores[0].renew = lambda stream: None  # type: ignore[method-assign]
    first = subscribed(sim, scheduler, stores[0])
    scheduler.advance_by(61)  # it writes once a minute that it is alive: not while the other one watches
    second = subscribed(sim, scheduler, stores[1])
    scheduler.advance_by(36)  # the patience, and the longest pause between two tries
    sim.put("b")
    scheduler.advance_by(30)
    assert [change.keys["id"] for change in second.changes] == ["b"]
    assert isinstance(first.error, CheckpointLocked)
    assert second.error is None
    second.subscription.dispose()
