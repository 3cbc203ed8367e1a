"""Positions in a DynamoDB table, so that a consumer goes on where it stopped, on whatever machine.

A consumer is one process. It claims the stream with an item of its own, which has a token, the claim's epoch,
and a number that grows, its sign of life. All it writes are transactions that need the token. So one that
was taken over moves no position any more, however long it was frozen in between::

    first    claim A   A1   A2   A3  (crashes)
    second                               A3?  ...  A3 still: claim B   B1   B2
    first, thawed                                                  write, if A: refused

Nobody compares clocks: whoever wants the claim watches by a clock of its own whether the number changes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any
from uuid import uuid4

from rxddbstream.aws.session import client_maker
from rxddbstream.checkpoints.dynamodb_table import Cancelled, Table
from rxddbstream.checkpoints.store import COUNT, PERIOD
from rxddbstream.errors import (
    CheckpointError,
    CheckpointLocked,
    ConfigurationError,
    StreamError,
    TransientError,
)

SHORTEST_PERIOD = 1.0
"""Seconds between two signs of life, at least; there is one in each `period`, if that is longer."""

SIGNS_MISSED = 3  # as many as may be late, by a slow or throttled table, before the claim is taken over
_A_TRANSACTION = 99  # actions beside the claim; the service takes 100


class DynamoDBCheckpoints:
    """Keeps positions in a DynamoDB table, which is made when it is not there (on-demand capacity).

    An item is one shard's position for one consumer: `consumer` is the partition key, `shard` (the
    stream's ARN and the shard's ID) the sort key. A position is only ever replaced by a later one. Several
    consumers can follow one stream, each under a name of its own, in one table.

    A consumer is one process at a time: it claims the stream, and shows once a `period` that it is alive. A
    second one is refused. After a crash the next start waits until there was no sign of life for three
    periods, which are 15 seconds by default, and takes over; after an orderly end it begins at once. One that
    was taken over writes nothing any more, and ends with `CheckpointLocked`.

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
        CheckpointLocked: another process is this consumer, or has become it.
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
        self._name = table
        self._consumer = consumer
        self._client = self._given_client = client
        self._process = os.getpid()
        self._for_making_one = (session, region_name, profile_name, endpoint_url)
        self._claims: dict[str, _Claim] = {}  # by stream
        self._clock = time.monotonic  # tests have one of their own

    def load(self, stream: str) -> Mapping[str, str]:
        if self._is_of_another_process:  # whose claims, and connections, are not ours
            self._process, self._client, self._claims = os.getpid(), self._given_client, {}
        claim = self._claims.get(stream)
        if claim is None:
            if self._client is None:
                make = client_maker(stream, *self._for_making_one, connections=2, is_beside=True)
                self._client = make("dynamodb")
            claim = self._claims[stream] = _Claim(self, stream)
        if not claim.uses:
            claim.table.find_or_create()
            claim.take()
        prefix = f"{stream}/"
        try:
            claim.texts = {
                item["shard"]["S"].removeprefix(prefix): item.get("position", {}).get("S", "")
                for item in claim.table.items(self._consumer, prefix)
            }
        except BaseException:
            if not claim.uses:
                with contextlib.suppress(StreamError):
                    claim.give_up()
            raise
        claim.uses += 1
        return dict(claim.texts)

    def save(self, stream: str, positions: Mapping[str, str]) -> None:
        claim = self._claimed(stream)
        left = iter([each for each in positions.items() if each[1] > claim.texts.get(each[0], "")])
        while part := dict(islice(left, _A_TRANSACTION)):
            claim.write([self._update(stream, shard_id, text) for shard_id, text in part.items()])
            claim.texts |= part  # which need not be written again, if what follows is throttled

    def forget(self, stream: str, shard_ids: Collection[str]) -> None:
        claim, left = self._claimed(stream), iter(shard_ids)
        while part := list(islice(left, _A_TRANSACTION)):
            claim.write([{"Delete": {"Key": self._key(f"{stream}/{shard_id}")}} for shard_id in part])
            for shard_id in part:
                claim.texts.pop(shard_id, None)

    def renew(self, stream: str) -> None:
        """Show that the consumer is alive; called once a period, when nothing was saved."""
        self._claimed(stream).show_life()

    def close(self, stream: str) -> None:
        claim = self._claims.get(stream)
        if claim is None or self._is_of_another_process:
            return
        claim.uses -= 1
        if claim.uses <= 0:
            del self._claims[stream]
            claim.give_up()

    @property
    def _is_of_another_process(self) -> bool:
        return os.getpid() != self._process

    def _claimed(self, stream: str) -> _Claim:
        claim = self._claims.get(stream)
        if claim is None or not claim.uses or self._is_of_another_process:
            raise CheckpointError(f"checkpoint table {self._name!r} is not open for stream {stream}")
        return claim

    def _key(self, sort_key: str) -> dict[str, Any]:
        return {"consumer": {"S": self._consumer}, "shard": {"S": sort_key}}

    def _update(self, stream: str, shard_id: str, position: str) -> dict[str, Any]:
        return {
            "Update": {
                "Key": self._key(f"{stream}/{shard_id}"),
                "UpdateExpression": "SET #position = :position",
                "ConditionExpression": "attribute_not_exists(#position) OR #position < :position",
                "ExpressionAttributeNames": {"#position": "position"},
                "ExpressionAttributeValues": {":position": {"S": position}},
            }
        }


class _Claim:
    """A store's claim of one stream.

    Attributes:
        uses: how often it was loaded and not closed.
        texts: the positions, as the table has them.
    """

    def __init__(self, store: DynamoDBCheckpoints, stream: str) -> None:
        self.uses = 0
        self.texts: dict[str, str] = {}
        self.table = Table(store._client, store._name)
        self._store = store
        self._sort_key = f"*claim/{stream}"  # not among the positions, whose keys begin with the stream
        self._token = uuid4().hex
        self._period = max(SHORTEST_PERIOD, store.period)
        self._patience = SIGNS_MISSED * self._period
        self._seen: tuple[str, str] | None = None  # the other one's token and number
        self._seen_at = self._shown_at = 0.0
        self._what = f"consumer {store._consumer!r} of checkpoint table {store._name!r}"

    def take(self) -> None:
        """Take the claim, unless another process has it.

        Raises:
            CheckpointLocked: another one has it, and is alive.
            TransientError: another one has it, and may be dead.
        """
        items = self.table.items(self._store._consumer, self._sort_key)
        found = next((item for item in items if item["shard"]["S"] == self._sort_key), None)
        values: dict[str, Any] = {":token": {"S": self._token}}
        life = 0
        if found is None or found["token"]["S"] == self._token:
            condition = "attribute_not_exists(#token) OR #token = :token"
            # Ours: its answer was lost, or what was to be read after it is throttled. It grows all the same,
            # or who watches would take it for one that has died.
            life = int(found["life"]["N"]) + 1 if found is not None else 0
        else:
            self._watch(found)
            condition = "#token = :other AND #life = :seen"
            values |= {":other": found["token"], ":seen": found["life"]}
        values |= {":life": {"N": str(life)}, ":patience": {"N": f"{self._patience:g}"}}
        if not self.table.write(
            "update_item",
            Key=self._store._key(self._sort_key),
            UpdateExpression="SET #token = :token, #life = :life, #patience = :patience",
            ConditionExpression=condition,
            ExpressionAttributeNames={"#token": "token", "#life": "life", "#patience": "patience"},
            ExpressionAttributeValues=values,
        ):
            raise TransientError(f"{self._what} was claimed by another process in this moment")
        self._seen, self._shown_at = None, self._store._clock()

    def _watch(self, found: dict[str, Any]) -> None:
        """Return when the other one is to be taken over."""
        seen, now = (found["token"]["S"], found["life"]["N"]), self._store._clock()
        patience = float(found["patience"]["N"])
        if self._seen is None:
            self._seen, self._seen_at = seen, now
        elif self._seen != seen:
            self._seen = None
            raise CheckpointLocked(
                f"{self._what} is in use by another process; it is for one at a time. Stop the other one, or "
                "give this one a name of its own"
            )
        if now - self._seen_at < patience:
            raise TransientError(
                f"{self._what} was claimed by another process; it is taken over when that one has shown "
                f"no sign of life for {patience:g} s"
            )

    def write(self, actions: list[dict[str, Any]]) -> None:
        """Write items together with a sign of life, if the claim still holds.

        Raises:
            CheckpointLocked: it does not.
        """
        while actions:
            try:
                self.table.transact([{"Update": self._sign_of_life()}, *actions])
            except Cancelled as cancelled:
                first, *others = cancelled.refused
                if first:
                    raise self._lost() from cancelled
                # The others have a later position already.
                actions = [each for each, refused in zip(actions, others, strict=True) if not refused]
            else:
                self._shown_at = self._store._clock()
                return

    def show_life(self) -> None:
        """Write a sign of life, unless there was one just now."""
        now = self._store._clock()
        if now - self._shown_at < self._period / 2:
            return
        if not self.table.write("update_item", **self._sign_of_life()):
            raise self._lost()
        self._shown_at = now

    def give_up(self) -> None:
        """Let others have it at once."""
        self.table.write(
            "delete_item",
            Key=self._store._key(self._sort_key),
            ConditionExpression="#token = :token",
            ExpressionAttributeNames={"#token": "token"},
            ExpressionAttributeValues={":token": {"S": self._token}},
        )

    def _sign_of_life(self) -> dict[str, Any]:
        return {
            "Key": self._store._key(self._sort_key),
            "UpdateExpression": "SET #life = #life + :one",
            "ConditionExpression": "#token = :token",
            "ExpressionAttributeNames": {"#token": "token", "#life": "life"},
            "ExpressionAttributeValues": {":token": {"S": self._token}, ":one": {"N": "1"}},
        }

    def _lost(self) -> CheckpointLocked:
        return CheckpointLocked(
            f"{self._what} was taken over by another process, for this one had shown no sign of life for "
            f"{self._patience:g} s; it writes nothing any more. Run one process for each consumer"
        )
