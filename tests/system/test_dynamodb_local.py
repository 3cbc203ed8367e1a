"""Against DynamoDB Local: real roll-overs, real expiry, AWS's own code; see also `scenarios.py`."""

from __future__ import annotations

import json

import pytest

import rxddbstream as rxd
from rxddbstream.errors import StreamNotEnabled, StreamNotFound, TableNotFound


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scenario", [name], indirect=True)


@of("roll-overs")
@pytest.mark.parametrize("start", ["latest", "trim_horizon", "15m"])
def test_real_roll_overs_are_read_whole_and_in_order(scenario, start):
    consumer = scenario["consumers"][start]
    assert consumer["errors"] == []
    assert consumer["numbers_by_item"] == scenario["written"]
    assert consumer["shards_closed"] >= 3


@of("roll-overs")
def test_the_command_line_reads_them_too(scenario):
    items = {}
    for change in map(json.loads, scenario["lines"]):
        items.setdefault(change["keys"]["id"], []).append(change["new_image"]["n"])
    assert items == scenario["written"]


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


def test_a_table_whose_stream_was_switched_off_and_on_is_read_whole(dynamodb_local, tmp_path):
    client, name = dynamodb_local.client("dynamodb"), "switched"
    dynamodb_local.create_table(name)
    store = rxd.SqliteCheckpoints(tmp_path / "positions.db")
    runs = []

    def run_after_writing(*keys):
        for key in keys:
            client.put_item(TableName=name, Item={"id": {"S": key}})
        seen = []
        source = rxd.changes(
            name,
            start="trim_horizon",
            follow=False,
            checkpoints=store,
            endpoint_url=dynamodb_local.endpoint_url,
            session=dynamodb_local.session(),
        )
        rxd.run(source, lambda change: seen.append(change.keys["id"]))
        runs.append(seen)

    run_after_writing("a")
    client.put_item(TableName=name, Item={"id": {"S": "b"}})
    client.update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
    client.update_table(
        TableName=name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    )
    run_after_writing("c")
    run_after_writing("d")
    assert runs == [["a"], ["b", "c"], ["d"]]


@of("busy")
def test_a_bounded_read_ends_while_somebody_writes(scenario):
    written = [n for numbers in scenario["written"].values() for n in numbers]
    assert sorted(scenario["numbers"][: len(written)]) == sorted(written)


@of("disabled")
def test_a_disabled_stream_ends_with_an_error_once_it_is_read(scenario):
    name, message = scenario["error"]
    assert name == "StreamDisabled"
    assert "nothing will follow" in message
    assert scenario["count"] == sum(map(len, scenario["written"].values()))
    assert scenario["bounded_is_the_same"]
