"""A table of checkpoints in memory: as much of DynamoDB as `DynamoDBCheckpoints` asks for, and quick."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

KEYS = ("consumer", "shard")


def refusal(code: str, operation: str, **more: Any) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "refused"}, **more}, operation)


class MemoryTable:
    """Answers as boto3's `dynamodb` client does, of one table that is there."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}

    def describe_table(self, TableName: str) -> Any:  # noqa: N803 - as boto3 has it
        kinds = zip(KEYS, ("HASH", "RANGE"), strict=True)
        schema = [{"AttributeName": name, "KeyType": kind} for name, kind in kinds]
        return {"Table": {"KeySchema": schema, "TableStatus": "ACTIVE"}}

    def query(self, ExpressionAttributeValues: Any, **_: Any) -> Any:  # noqa: N803
        consumer, prefix = (ExpressionAttributeValues[name]["S"] for name in (":consumer", ":prefix"))
        found = (key for key in sorted(self.items) if key[0] == consumer and key[1].startswith(prefix))
        return {"Items": [dict(self.items[key]) for key in found]}

    def update_item(self, **action: Any) -> Any:
        return self._write("UpdateItem", action)

    def delete_item(self, **action: Any) -> Any:
        return self._write("DeleteItem", action)

    def transact_write_items(self, TransactItems: Any) -> Any:  # noqa: N803
        actions = [action for item in TransactItems for action in item.values()]
        held = [self._holds(action) for action in actions]
        if not all(held):
            reasons = [{"Code": "None" if each else "ConditionalCheckFailed"} for each in held]
            code = "TransactionCanceledException"
            raise refusal(code, "TransactWriteItems", CancellationReasons=reasons)
        for action in actions:
            self._apply(action)
        return {}

    def _write(self, operation: str, action: Any) -> Any:
        if not self._holds(action):
            raise refusal("ConditionalCheckFailedException", operation)
        self._apply(action)
        return {}

    def _item(self, action: Any) -> dict[str, Any]:
        return self.items.get(_key(action), {})

    def _holds(self, action: Any) -> bool:
        condition = action.get("ConditionExpression", "")
        if " AND " in condition:
            return all(self._is_so(term, action) for term in condition.split(" AND "))
        return not condition or any(self._is_so(term, action) for term in condition.split(" OR "))

    def _is_so(self, term: str, action: Any) -> bool:
        item, names = self._item(action), action["ExpressionAttributeNames"]
        if term.startswith("attribute_not_exists("):
            return names[term[len("attribute_not_exists(") : -1]] not in item
        name, comparison, value = term.split(" ")
        found, given = item.get(names[name]), action["ExpressionAttributeValues"][value]
        if found is None:
            return False
        return {"=": found == given, "<": found.get("S", "") < given.get("S", "")}[comparison]

    def _apply(self, action: Any) -> None:
        update = action.get("UpdateExpression")
        if update is None:
            self.items.pop(_key(action), None)
            return
        names, values = action["ExpressionAttributeNames"], action["ExpressionAttributeValues"]
        item = self.items.setdefault(_key(action), dict(action["Key"]))
        for assignment in update.removeprefix("SET ").split(", "):
            name, _, value = assignment.partition(" = ")
            if " + " in value:
                number = int(item[names[name]]["N"]) + int(values[value.split(" + ")[1]]["N"])
                item[names[name]] = {"N": str(number)}
            else:
                item[names[name]] = values[value]


def _key(action: Any) -> tuple[str, str]:
    consumer, shard = (action["Key"][name]["S"] for name in KEYS)
    return consumer, shard
