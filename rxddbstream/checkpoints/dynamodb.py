"""Positions in a DynamoDB table, so that a consumer goes on where it stopped, on whatever machine."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rxddbstream.aws.errors import explain
from rxddbstream.aws.session import client_maker
from rxddbstream.checkpoints.store import COUNT, PERIOD
from rxddbstream.errors import (
    AccessDenied,
    CheckpointError,
    CheckpointUnreadable,
    ConfigurationError,
    MalformedAnswer,
    TransientError,
)

_KEY_SCHEMA = [
    {"AttributeName": "consumer", "KeyType": "HASH"},
    {"AttributeName": "shard", "KeyType": "RANGE"},
]
_PERMISSIONS = (
    "Keeping checkpoints in a table needs dynamodb:DescribeTable, Query, UpdateItem and DeleteItem on it, "
    "and dynamodb:CreateTable where it is to be made"
)


class DynamoDBCheckpoints:
    """Keeps positions in a DynamoDB table, which is made when it is not there (on-demand capacity).

    An item is one shard's position for one consumer: `consumer` is the partition key, `shard` (the
    stream's ARN and the shard's ID) the sort key. A position is only ever replaced by a later one. Several
    consumers can follow one stream, each under a name of its own, in one table.

    It takes `dynamodb:DescribeTable`, `Query`, `UpdateItem` and `DeleteItem` on the table, and `CreateTable`
    where it is to be made.

    Args:
        table: the table's name.
        consumer: this consumer's name.
        client: a boto3 client for `dynamodb`, instead of one made here.
        session, region_name, profile_name, endpoint_url: for making one, as in `rxddbstream.changes`.
        period: seconds between two writes, at most.
        count: changes between two writes, at most.

    Errors at on_error:
        CheckpointUnreadable: the table has another key schema: it is for something else.
        CheckpointError: it cannot be read or written for another reason.

    >>> store = DynamoDBCheckpoints("checkpoints", consumer="mailer", region_name="eu-west-1")
    """

    def __init__(
        self,
        table: str,
        *,
        consumer: str,
        client: Any = None,
        session: Any = None,
        region_name: str | None = None,
        profile_name: str | None = None,
        endpoint_url: str | None = None,
        period: float = PERIOD,
        count: int = COUNT,
    ) -> None:
        if not isinstance(consumer, str) or not consumer:
            raise ConfigurationError(f"consumer={consumer!r}: a name is needed, such as 'mailer'")
        self.period = period
        self.count = count
        self._table = table
        self._consumer = consumer
        self._client = client
        self._for_making_one = (session, region_name, profile_name, endpoint_url)

    def load(self, stream: str) -> Mapping[str, str]:
        if self._client is None:
            self._client = client_maker(stream, *self._for_making_one, connections=2)("dynamodb")
        self._find_or_create_table()
        prefix = f"{stream}/"
        return {
            item["shard"]["S"].removeprefix(prefix): item.get("position", {}).get("S", "")
            for item in self._items(prefix)
        }

    def save(self, stream: str, positions: Mapping[str, str]) -> None:
        for shard_id, position in positions.items():
            self._call(
                "update_item",
                TableName=self._table,
                Key=self._key(stream, shard_id),
                UpdateExpression="SET #position = :position",
                ConditionExpression="attribute_not_exists(#position) OR #position < :position",
                ExpressionAttributeNames={"#position": "position"},
                ExpressionAttributeValues={":position": {"S": position}},
            )

    def forget(self, stream: str, shard_ids: Collection[str]) -> None:
        for shard_id in shard_ids:
            self._call("delete_item", TableName=self._table, Key=self._key(stream, shard_id))

    def close(self, stream: str) -> None:
        pass

    def _key(self, stream: str, shard_id: str) -> dict[str, Any]:
        return {"consumer": {"S": self._consumer}, "shard": {"S": f"{stream}/{shard_id}"}}

    def _items(self, prefix: str) -> Iterator[dict[str, Any]]:
        arguments: dict[str, Any] = {}
        while True:
            page = self._call(
                "query",
                "Items",
                TableName=self._table,
                KeyConditionExpression="#consumer = :consumer AND begins_with(#shard, :prefix)",
                ExpressionAttributeNames={"#consumer": "consumer", "#shard": "shard"},
                ExpressionAttributeValues={":consumer": {"S": self._consumer}, ":prefix": {"S": prefix}},
                ConsistentRead=True,
                **arguments,
            )
            yield from page["Items"]
            if not page.get("LastEvaluatedKey"):
                return
            arguments = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _find_or_create_table(self) -> None:
        try:
            table = self._call("describe_table", "Table", TableName=self._table)["Table"]
        except _Missing:
            self._call(
                "create_table",
                TableName=self._table,
                KeySchema=_KEY_SCHEMA,
                AttributeDefinitions=[
                    {"AttributeName": key["AttributeName"], "AttributeType": "S"} for key in _KEY_SCHEMA
                ],
                BillingMode="PAY_PER_REQUEST",
            )
            raise _NotReady(f"checkpoint table {self._table!r} is being created") from None
        if table["KeySchema"] != _KEY_SCHEMA:
            raise CheckpointUnreadable(
                f"table {self._table!r} has another key than checkpoints have (consumer, shard); "
                "it was left as it is. Name another table"
            )
        if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
            raise _NotReady(f"checkpoint table {self._table!r} is {table['TableStatus']}")

    def _call(self, operation: str, wanted: str | None = None, **arguments: Any) -> Any:
        doing = f"{operation} on checkpoint table {self._table!r}"
        try:
            answer = getattr(self._client, operation)(**arguments)
        except Exception as error:
            # A connection's error has a response, too: None.
            code = (getattr(error, "response", None) or {}).get("Error", {}).get("Code")
            if code == "ConditionalCheckFailedException":
                return None  # a later position is there already
            if code == "ResourceInUseException":
                raise _NotReady(f"checkpoint table {self._table!r} is being changed") from error
            reason = explain(error, doing, _Missing)
            if isinstance(reason, TransientError | CheckpointError):
                raise reason from error
            if isinstance(reason, AccessDenied):
                raise CheckpointError(f"{doing}: {error}. {_PERMISSIONS}") from error
            raise CheckpointError(str(reason)) from error
        if wanted is not None and wanted not in answer:  # botocore makes this of a body that was cut
            raise MalformedAnswer(f"{doing} was answered without {wanted}")
        return answer


class _Missing(CheckpointError):
    """There is no such table."""


class _NotReady(TransientError):
    """The table will be there in a moment; the caller tries again, without blocking a thread."""
