"""A DynamoDB table that is short of write capacity: it delays checkpoints, and starves nobody."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from support.checkpoints import TABLE, ready, subscribed

import rxddbstream as rxd
from rxddbstream.errors import Throttled
from rxddbstream.testing import SimulatedStream


class ShortOfCapacity:
    """A client whose table has so many write units a second, and keeps some for a burst.

    A transaction takes two units an item, and is refused as a whole.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-capacity-handling
    """

    def __init__(self, client, scheduler, rate, burst):
        self._client, self._scheduler, self._rate, self._burst = client, scheduler, rate, burst
        self._units, self._at = burst, scheduler.now

    def __getattr__(self, name):
        return getattr(self._client, name)

    def update_item(self, **arguments):
        self._take(1, "ProvisionedThroughputExceededException", "UpdateItem")
        return self._client.update_item(**arguments)

    def transact_write_items(self, **arguments):
        items = arguments["TransactItems"]
        reasons = [{"Code": "ThrottlingError"}, *({"Code": "None"} for _ in items[1:])]
        self._take(2 * len(items), "TransactionCanceledException", "TransactWriteItems", reasons)
        return self._client.transact_write_items(**arguments)

    def _take(self, units, code, operation, reasons=()):
        now = self._scheduler.now
        self._units = min(self._burst, self._units + (now - self._at).total_seconds() * self._rate)
        self._at = now
        if self._units < units:
            answer = {"Error": {"Code": code, "Message": "slow down"}, "CancellationReasons": list(reasons)}
            raise ClientError(answer, operation)
        self._units -= units


def store_of(client, scheduler, rate, burst):
    ready(rxd.DynamoDBCheckpoints(TABLE, consumer="mailer", client=client))
    short = ShortOfCapacity(client, scheduler, rate, burst)
    return rxd.DynamoDBCheckpoints(TABLE, consumer="mailer", client=short)


def test_a_consumer_of_many_shards_begins(dynamodb, scheduler):
    sim = SimulatedStream("many", scheduler=scheduler, shards=200)
    reader = subscribed(sim, scheduler, store_of(dynamodb, scheduler, rate=10, burst=50), start="latest")
    for n in range(120):
        sim.put(f"item-{n}")
        scheduler.advance_by(1)
    assert len(reader.changes) >= 100


@pytest.mark.parametrize("burst", [20, 150])
def test_no_position_of_many_grows_old(dynamodb, scheduler, burst):
    sim = SimulatedStream("many", scheduler=scheduler, shards=40)
    store = store_of(dynamodb, scheduler, rate=10, burst=burst)
    subscribed(sim, scheduler, store, start="trim_horizon")
    seconds = 300
    for n in range(seconds):
        for item in range(120):
            sim.put(f"item-{item}", n=n)
        scheduler.advance_by(1)
    kept = store.load(sim.arn)
    for shard in sim.shards:
        records = sim.records_of(shard.id)
        texts = [
            "1 AFTER_SEQUENCE_NUMBER " + each["dynamodb"]["SequenceNumber"].zfill(40) for each in records
        ]
        behind = sum(text > kept[shard.id] for text in texts)
        assert behind * seconds < 90 * max(1, len(records))


def test_a_table_that_takes_nothing_is_throttled(dynamodb, scheduler):
    store = store_of(dynamodb, scheduler, rate=0, burst=3)
    store.load("stream")
    with pytest.raises(Throttled):
        store.save("stream", {"shard-1": "1 AFTER_SEQUENCE_NUMBER 1", "shard-2": "1 AFTER_SEQUENCE_NUMBER 2"})
