"""Against DynamoDB Local with a racing clock: real roll-overs, real expiry, AWS's own code."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest

import rxddbstream as rxd
from rxddbstream.errors import StreamDisabled, StreamNotEnabled, StreamNotFound, TableNotFound

SECONDS = 45
ITEMS_PER_SECOND = 50
POLL = rxd.Poll(fastest=0.05, slowest=0.25)


class Consumer:
    """Collects in the background what a stream delivers."""

    def __init__(self, server, table, **options):
        self.changes = []
        self.events = []
        self.errors = []
        source = rxd.changes(
            table,
            endpoint_url=server.endpoint_url,
            session=server.session(),
            events=self.events.append,
            poll=POLL,
            **options,
        )
        self.subscription = source.subscribe(self.changes.append, self.errors.append)

    def numbers_by_item(self):
        items = {}
        for change in self.changes:
            items.setdefault(change.keys["id"], []).append(int(change.new_image["n"]))
        return items


def write(server, table, seconds, rate):
    """Count up in ten items, so many writes a second; for each item the numbers written."""
    dynamodb = server.client("dynamodb")
    written = {}
    begun = time.monotonic()
    for n in range(seconds * rate):
        key = f"item-{n % 10}"
        dynamodb.put_item(TableName=table, Item={"id": {"S": key}, "n": {"N": str(n)}})
        written.setdefault(key, []).append(n)
        time.sleep(max(0.0, begun + (n + 1) / rate - time.monotonic()))
    return written


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def roll_overs(racing_dynamodb_local):
    """Consumers that were there before the first write, and what was written over 45 seconds."""
    server = racing_dynamodb_local
    server.create_table("orders")
    starts = {"latest": "latest", "trim_horizon": "trim_horizon", "15m": timedelta(minutes=15)}
    consumers = {name: Consumer(server, "orders", start=start) for name, start in starts.items()}
    command = [sys.executable, "-m", "rxddbstream", "orders", "--start", "15m", "--format", "json"]
    command += ["-n", str(SECONDS * ITEMS_PER_SECOND), "--endpoint-url", server.endpoint_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        lines = []
        pump = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
        pump.start()
        written = write(server, "orders", SECONDS, ITEMS_PER_SECOND)
        total = sum(map(len, written.values()))
        for consumer in consumers.values():
            wait_until(lambda consumer=consumer: len(consumer.changes) >= total or consumer.errors)
            consumer.subscription.dispose()
        pump.join(20)
        process.kill()
    return consumers, lines, written


@pytest.mark.parametrize("start", ["latest", "trim_horizon", "15m"])
def test_real_roll_overs_are_read_whole_and_in_order(roll_overs, start):
    consumers, _, written = roll_overs
    consumer = consumers[start]
    assert consumer.errors == []
    assert consumer.numbers_by_item() == written
    assert sum(isinstance(event, rxd.ShardClosed) for event in consumer.events) >= 3


def test_the_command_line_reads_them_too(roll_overs):
    _, lines, written = roll_overs
    items = {}
    for change in map(json.loads, lines):
        items.setdefault(change["keys"]["id"], []).append(change["new_image"]["n"])
    assert items == written


@pytest.mark.parametrize("follow", [True, False])
def test_unknown_tables_and_streams_are_named(dynamodb_local, follow):
    options = {"endpoint_url": dynamodb_local.endpoint_url, "session": dynamodb_local.session()}
    with pytest.raises(TableNotFound, match="no table 'nowhere'"):
        rxd.run(rxd.changes("nowhere", follow=follow, **options))
    arn = dynamodb_local.create_table(f"orders-{follow}")
    with pytest.raises(StreamNotFound, match="no stream"):
        rxd.run(rxd.changes(arn.replace("stream/2", "stream/1"), follow=follow, **options))


def test_a_table_without_a_stream_is_named(dynamodb_local):
    dynamodb_local.client("dynamodb").create_table(
        TableName="no-stream-here",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    source = rxd.changes(
        "no-stream-here", endpoint_url=dynamodb_local.endpoint_url, session=dynamodb_local.session()
    )
    with pytest.raises(StreamNotEnabled, match="update-table"):
        rxd.run(source)


def test_a_bounded_read_ends_while_somebody_writes(dynamodb_local):
    dynamodb_local.create_table("busy")
    written = write(dynamodb_local, "busy", 1, ITEMS_PER_SECOND)
    stop = threading.Event()

    def go_on_writing():
        while not stop.is_set():
            write(dynamodb_local, "busy", 1, 200)

    writer = threading.Thread(target=go_on_writing, daemon=True)
    writer.start()
    changes = []
    source = rxd.changes(
        "busy",
        start="trim_horizon",
        follow=False,
        endpoint_url=dynamodb_local.endpoint_url,
        session=dynamodb_local.session(),
    )
    try:
        rxd.run(source, changes.append)
    finally:
        stop.set()
        writer.join()
    first = [int(change.new_image["n"]) for change in changes][: sum(map(len, written.values()))]
    assert sorted(first) == sorted(n for numbers in written.values() for n in numbers)


def test_a_disabled_stream_ends_with_an_error_once_it_is_read(dynamodb_local):
    dynamodb_local.create_table("disabled")
    arn = dynamodb_local.client("dynamodb").describe_table(TableName="disabled")["Table"]["LatestStreamArn"]
    written = write(dynamodb_local, "disabled", 1, 10)
    dynamodb_local.client("dynamodb").update_table(
        TableName="disabled", StreamSpecification={"StreamEnabled": False}
    )
    options = {"endpoint_url": dynamodb_local.endpoint_url, "session": dynamodb_local.session()}
    changes = []
    with pytest.raises(StreamDisabled, match="nothing will follow"):
        rxd.run(rxd.changes(arn, start="trim_horizon", **options), changes.append)
    assert len(changes) == sum(map(len, written.values()))
    bounded = []
    rxd.run(rxd.changes(arn, start="trim_horizon", follow=False, **options), bounded.append)
    assert bounded == changes
