"""The DynamoDB table of checkpoints: its calls, and what their errors mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rxddbstream.aws.errors import explain
from rxddbstream.errors import (
    AccessDenied,
    CheckpointError,
    CheckpointUnreadable,
    MalformedAnswer,
    Throttled,
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
# Why a transaction may be cancelled, and pass the next time.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
_MAY_PASS = {"TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"}


class Cancelled(CheckpointError):
    """A transaction was: for each of its actions, whether its condition did not hold."""

    def __init__(self, message: str, refused: Sequence[bool]) -> None:
        super().__init__(message)
        self.refused = refused


class Table:
    """A table of checkpoints.

    Args:
        client: a boto3 client for `dynamodb`.
        name: the table's name.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def find_or_create(self) -> None:
        """Make the table, where it is not there.

        Raises:
            TransientError: it is being made.
            CheckpointUnreadable: it is for something else.
        """
        try:
            table = self._call("describe_table", "Table")["Table"]
        except _Missing:
            self._call(
                "create_table",
                KeySchema=_KEY_SCHEMA,
                AttributeDefinitions=[
                    {"AttributeName": key["AttributeName"], "AttributeType": "S"} for key in _KEY_SCHEMA
                ],
                BillingMode="PAY_PER_REQUEST",
            )
            raise _NotReady(f"checkpoint table {self._name!r} is being created") from None
        if table["KeySchema"] != _KEY_SCHEMA:
            raise CheckpointUnreadable(
                f"table {self._name!r} has another key than checkpoints have (consumer, shard); "
                "it was left as it is. Name another table"
            )
        if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
            raise _NotReady(f"checkpoint table {self._name!r} is {table['TableStatus']}")

    def items(self, consumer: str, prefix: str) -> Iterator[dict[str, Any]]:
        """All items of a consumer of which the sort key begins so."""
        arguments: dict[str, Any] = {}
        while True:
            page = self._call(
                "query",
                "Items",
                KeyConditionExpression="#consumer = :consumer AND begins_with(#shard, :prefix)",
                ExpressionAttributeNames={"#consumer": "consumer", "#shard": "shard"},
                ExpressionAttributeValues={":consumer": {"S": consumer}, ":prefix": {"S": prefix}},
                ConsistentRead=True,
                **arguments,
            )
            yield from page["Items"]
            if not page.get("LastEvaluatedKey"):
                return
            arguments = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def write(self, operation: str, **arguments: Any) -> bool:
        """Write one item; whether its condition held."""
        return self._call(operation, **arguments) is not None

    def transact(self, actions: Sequence[dict[str, Any]]) -> None:
        """Write up to 100 items, or none.

        Raises:
            Cancelled: a condition did not hold.
        """
        named = [
            {kind: {"TableName": self._name, **each}} for action in actions for kind, each in action.items()
        ]
        self._call("transact_write_items", TransactItems=named)

    def _call(self, operation: str, wanted: str | None = None, **arguments: Any) -> Any:
        doing = f"{operation} on checkpoint table {self._name!r}"
        if operation != "transact_write_items":
            arguments["TableName"] = self._name
        try:
            answer = getattr(self._client, operation)(**arguments)
        except Exception as error:
            # A connection's error has a response, too: None.
            response = getattr(error, "response", None) or {}
            code = response.get("Error", {}).get("Code")
            if code == "ConditionalCheckFailedException":
                return None
            if code == "TransactionCanceledException":
                raise _cancelled(doing, response, error) from error
            if code in ("ResourceInUseException", "TransactionInProgressException"):
                raise _NotReady(f"checkpoint table {self._name!r} is being changed") from error
            reason = explain(error, doing, _Missing)
            if isinstance(reason, TransientError | CheckpointError):
                raise reason from error
            if isinstance(reason, AccessDenied):
                raise CheckpointError(f"{doing}: {error}. {_PERMISSIONS}") from error
            raise CheckpointError(str(reason)) from error
        if wanted is not None and wanted not in answer:  # botocore makes this of a body that was cut
            raise MalformedAnswer(f"{doing} was answered without {wanted}")
        return answer


def _cancelled(doing: str, response: dict[str, Any], error: Exception) -> Exception:
    codes = [reason.get("Code") for reason in response.get("CancellationReasons", ())]
    refused = [code == "ConditionalCheckFailed" for code in codes]
    if any(refused):
        return Cancelled(f"{doing}: {error}", refused)
    if _MAY_PASS.intersection(codes):
        return Throttled(f"{doing}: {error}")
    return CheckpointError(f"{doing}: {error}")


class _Missing(CheckpointError):
    """There is no such table."""


class _NotReady(TransientError):
    """The table will be there in a moment; the caller tries again, without blocking a thread."""
