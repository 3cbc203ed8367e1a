"""DynamoDB: the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError
from support.checkpoints import FIRST, SECOND, STREAM, TABLE, THIRD, dynamodb_store, ready

import rxddbstream as rxd
from rxddbstream.errors import (
    CheckpointError,
    CheckpointUnreadable,
    ConnectionLost,
    MalformedAnswer,
    Throttled,
    TransientError,
)


def make_table(dynamodb: Any) -> None:
    with pytest.raises(TransientError, match="is being created"):
        dynamodb_store(dynamodb).load(STREAM)


def test_the_table_is_made_when_it_is_not_there(dynamodb):
    with pytest.raises(TransientError, match="checkpoint table 'checkpoints' is being created"):
        dynamodb_store(dynamodb).load(STREAM)
    table = dynamodb.describe_table(TableName=TABLE)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["consumer", "shard"]
    assert dynamodb_store(dynamodb).load(STREAM) == {}


@pytest.mark.parametrize("status", ["CREATING", "DELETING"])
def test_a_table_that_is_being_made_or_dropped_is_waited_for(dynamodb, status):
    make_table(dynamodb)
    answers = [status, "UPDATING"]  # one that is changed can be read and written

    def describe_table(**arguments: Any) -> Any:
        table = dynamodb.describe_table(**arguments)["Table"]
        return {"Table": {**table, "TableStatus": answers.pop(0)}}

    store = dynamodb_store(Through(dynamodb, describe_table=describe_table))
    with pytest.raises(TransientError, match=f"'checkpoints' is {status}"):
        store.load(STREAM)
    assert store.load(STREAM) == {}


def test_consumers_share_a_table_and_nothing_else(dynamodb):
    for consumer, text in (("mailer", FIRST), ("audit", SECOND)):
        store = dynamodb_store(dynamodb, consumer)
        ready(store)
        store.save(STREAM, {"shard-1": text})
        store.close(STREAM)
    mailer = dynamodb_store(dynamodb, "mailer")
    assert mailer.load(STREAM) == {"shard-1": FIRST}
    mailer.forget(STREAM, ["shard-1"])
    assert dynamodb_store(dynamodb, "audit").load(STREAM) == {"shard-1": SECOND}


def test_a_table_for_something_else_is_left_as_it_is(dynamodb):
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(CheckpointUnreadable, match=r"'checkpoints' has another key .*Name another table"):
        dynamodb_store(dynamodb).load(STREAM)


class Through:
    """A client that answers some operations itself; the rest goes through to another one."""

    def __init__(self, client: Any, **answers: Callable[..., Any]) -> None:
        self._client = client
        self._answers = answers

    def __getattr__(self, operation: str) -> Any:
        return self._answers.get(operation) or getattr(self._client, operation)


def failing(code: str, message: str = "no", status: int = 400) -> Callable[..., Any]:
    def call(**_: Any) -> Any:
        answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, "Operation")  # type: ignore[arg-type]

    return call


def test_positions_are_read_page_by_page(dynamodb):
    positions = {f"shard-{number}": FIRST for number in range(7)}
    store = dynamodb_store(dynamodb)
    ready(store)
    store.save(STREAM, positions)
    store.close(STREAM)
    asked = []

    def query(**arguments: Any) -> Any:
        asked.append(arguments)
        return dynamodb.query(Limit=2, **arguments)

    assert dynamodb_store(Through(dynamodb, query=query)).load(STREAM) == positions
    assert len(asked) >= 4
    assert all(arguments["ConsistentRead"] for arguments in asked)


@pytest.mark.parametrize(
    "operation",
    ["describe_table", "create_table", "query", "update_item", "transact_write_items", "delete_item"],
)
def test_a_missing_permission_is_named(dynamodb, operation):
    if operation != "create_table":
        make_table(dynamodb)
    denied = failing("AccessDeniedException", f"User: me is not authorized to perform: {operation}")
    store = dynamodb_store(Through(dynamodb, **{operation: denied}))

    def use_it() -> None:
        store.load(STREAM)
        store.save(STREAM, {"shard-1": FIRST})
        store.close(STREAM)

    with pytest.raises(CheckpointError) as caught:
        use_it()
    message = str(caught.value)
    assert message.startswith(f"{operation} on checkpoint table 'checkpoints': ")
    assert "me is not authorized" in message
    assert "dynamodb:DescribeTable, Query, UpdateItem and DeleteItem" in message
    assert "DescribeStream" not in message


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ProvisionedThroughputExceededException", 400, Throttled),
        ("ThrottlingException", 400, Throttled),
        ("InternalServerError", 500, TransientError),
        ("ResourceInUseException", 400, TransientError),
        ("ExpiredTokenException", 400, CheckpointError),
        ("ResourceNotFoundException", 400, CheckpointError),
        ("ValidationException", 400, CheckpointError),
    ],
)
def test_what_may_pass_is_transient_and_nothing_else(dynamodb, code, status, expected):
    store = dynamodb_store(Through(dynamodb, transact_write_items=failing(code, status=status)))
    ready(store)
    with pytest.raises(expected, match="checkpoint table 'checkpoints'"):
        store.save(STREAM, {"shard-1": FIRST})


@pytest.mark.parametrize(
    "error",
    [
        ConnectionClosedError(endpoint_url="http://localhost"),
        EndpointConnectionError(endpoint_url="http://localhost", error="refused"),
        ReadTimeoutError(endpoint_url="http://localhost"),
    ],
)
def test_a_lost_connection_is_transient(dynamodb, error):
    def fail(**_: Any) -> None:
        raise error

    make_table(dynamodb)
    store = dynamodb_store(Through(dynamodb, query=fail))
    with pytest.raises(ConnectionLost, match="query on checkpoint table 'checkpoints'"):
        store.load(STREAM)


@pytest.mark.parametrize("operation", ["describe_table", "query"])
def test_an_answer_that_was_cut_is_not_an_empty_one(dynamodb, operation):
    make_table(dynamodb)
    with pytest.raises(MalformedAnswer, match=f"{operation} on checkpoint table"):
        dynamodb_store(Through(dynamodb, **{operation: lambda **_: {}})).load(STREAM)


def test_no_region_is_told_as_everywhere(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(rxd.errors.ConfigurationError, match="no region"):
        rxd.DynamoDBCheckpoints(TABLE, consumer="mailer").load("a stream without a region")


def test_dynamodb_local_takes_the_same_calls(dynamodb_local):
    # moto lets pass what DynamoDB does not: reserved words in expressions.
    client = dynamodb_local.client("dynamodb")
    store = dynamodb_store(client)
    assert ready(store) == {}
    store.save(STREAM, {"shard-1": SECOND, "shard-2": FIRST, "shard-3": THIRD})
    store.save(STREAM, {"shard-1": FIRST, "shard-2": SECOND})
    store.forget(STREAM, ["shard-3"])
    store.close(STREAM)
    assert dynamodb_store(client).load(STREAM) == {"shard-1": SECOND, "shard-2": SECOND}
    assert dynamodb_store(client, "audit").load(STREAM) == {}
    client.delete_table(TableName=TABLE)


@pytest.mark.parametrize("consumer", ["", None, 5])
def test_a_consumer_without_a_name_is_refused(consumer: Any) -> None:
    with pytest.raises(rxd.errors.ConfigurationError, match=r"consumer=.*: a name is needed"):
        rxd.DynamoDBCheckpoints("checkpoints", consumer=consumer)
