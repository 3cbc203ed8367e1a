"""What the emulators answer, where our code or tests rely on it: an upgrade that changes it shows.

Where AWS is known to answer otherwise, the comment says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws
from support.dynamodb_local import RACING, DynamoDBLocal
from support.scenarios import Result

NO_SUCH_SHARD = "shardId-00000001700000000000-deadbeef"
NO_SUCH_LABEL = "2020-01-01T00:00:00.000"


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


def put(server: DynamoDBLocal, table: str, *ids: str) -> None:
    for each in ids:
        server.client("dynamodb").put_item(TableName=table, Item={"id": {"S": each}})


def shards(streams: Any, arn: str, **options: Any) -> list[dict[str, Any]]:
    answer = streams.describe_stream(StreamArn=arn, **options)
    return answer["StreamDescription"]["Shards"]


def iterator(streams: Any, arn: str, shard: str, kind: str = "TRIM_HORIZON") -> str:
    answer = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType=kind)
    return answer["ShardIterator"]


class TestNormalClock:
    @pytest.fixture
    def streams(self, dynamodb_local: DynamoDBLocal) -> Any:
        return dynamodb_local.client("dynamodbstreams")

    def test_at_timestamp_is_unknown(self, dynamodb_local: DynamoDBLocal, streams: Any) -> None:
        # AWS knows it.
        arn = dynamodb_local.create_table("at-timestamp")
        assert refusal(
            streams.get_shard_iterator,
            StreamArn=arn,
            ShardId=shards(streams, arn)[0]["ShardId"],
            ShardIteratorType="AT_TIMESTAMP",
            Timestamp=datetime.now(UTC),
        ) == ("ValidationException", "Invalid ShardIteratorType.")

    def test_shard_filter_is_ignored(self, dynamodb_local: DynamoDBLocal, streams: Any) -> None:
        # AWS lists only the children: here that would be none.
        arn = dynamodb_local.create_table("shard-filter")
        listed = shards(streams, arn)
        children = {"Type": "CHILD_SHARDS", "ShardId": listed[0]["ShardId"]}
        assert shards(streams, arn, ShardFilter=children) == listed

    def test_what_does_not_exist(self, dynamodb_local: DynamoDBLocal, streams: Any) -> None:
        arn = dynamodb_local.create_table("exists")
        shard = shards(streams, arn)[0]["ShardId"]
        elsewhere = arn.rpartition("/")[0] + "/" + NO_SUCH_LABEL
        not_found = "ResourceNotFoundException"
        get_iterator = streams.get_shard_iterator
        assert refusal(streams.describe_stream, StreamArn=elsewhere) == (
            not_found,
            f"Requested resource not found: Stream: {elsewhere} not found",
        )
        assert refusal(get_iterator, StreamArn=elsewhere, ShardId=shard, ShardIteratorType="LATEST") == (
            not_found,
            "Stream does not exist",
        )
        assert refusal(get_iterator, StreamArn=arn, ShardId=NO_SUCH_SHARD, ShardIteratorType="LATEST") == (
            not_found,
            "Shard does not exist",
        )
        assert refusal(dynamodb_local.client("dynamodb").describe_table, TableName="unknown") == (
            not_found,
            "Cannot do operations on a non-existent table",
        )
        assert streams.list_streams(TableName="unknown")["Streams"] == []

    def test_a_table_without_a_stream(self, dynamodb_local: DynamoDBLocal, streams: Any) -> None:
        database = dynamodb_local.client("dynamodb")
        database.create_table(
            TableName="streamless",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        table = database.describe_table(TableName="streamless")["Table"]
        assert not [name for name in table if "Stream" in name]
        assert streams.list_streams(TableName="streamless")["Streams"] == []

    def test_malformed_iterators(self, dynamodb_local: DynamoDBLocal, streams: Any) -> None:
        arn = dynamodb_local.create_table("malformed")
        cut = iterator(streams, arn, shards(streams, arn)[0]["ShardId"])[:-8]
        get = streams.get_records
        assert refusal(get, ShardIterator="x") == ("ValidationException", "Invalid ShardIterator")
        # The time of making stands at an iterator's end.
        assert refusal(get, ShardIterator=cut) == ("ExpiredIteratorException", "")

    def test_records(self, dynamodb_local: DynamoDBLocal, streams: Any) -> None:
        arn = dynamodb_local.create_table("records")
        before = datetime.now(UTC).replace(second=0, microsecond=0)
        put(dynamodb_local, "records", "a", "b")
        page = streams.get_records(ShardIterator=iterator(streams, arn, shards(streams, arn)[0]["ShardId"]))
        records = [record["dynamodb"] for record in page["Records"]]
        numbers = [record["SequenceNumber"] for record in records]
        assert all(len(number) == 21 and number.isdigit() for number in numbers)
        assert numbers == sorted(numbers)
        for record in records:
            # Whole minutes, rounded down: the time of a change can lie before the subscription.
            created = record["ApproximateCreationDateTime"]
            assert created in {before, before + timedelta(minutes=1)}

    def test_the_first_change_of_a_shard_is_called_trimmed(
        self, dynamodb_local: DynamoDBLocal, streams: Any
    ) -> None:
        # An iterator of an empty shard stands at the shard's number. All tables share their numbers, so the
        # first change has a greater one: that is taken for a loss. AWS says so of what was trimmed alone.
        arn = dynamodb_local.create_table("first-change")
        old = iterator(streams, arn, shards(streams, arn)[0]["ShardId"])
        assert streams.get_records(ShardIterator=old)["Records"] == []
        dynamodb_local.create_table("another-table")
        put(dynamodb_local, "another-table", "a")
        put(dynamodb_local, "first-change", "a")
        code, _ = refusal(streams.get_records, ShardIterator=old)
        assert code == "TrimmedDataAccessException"

    def test_answers_are_dated(self, dynamodb_local: DynamoDBLocal, streams: Any) -> None:
        assert abs(date_of(streams.list_streams()) - datetime.now(UTC)) < timedelta(seconds=5)

    @pytest.mark.parametrize("ending", ["disabled", "deleted"])
    def test_a_stream_that_ended_is_read_to_its_end(
        self, dynamodb_local: DynamoDBLocal, streams: Any, ending: str
    ) -> None:
        table = f"ended-{ending}"
        arn = dynamodb_local.create_table(table)
        put(dynamodb_local, table, "a")
        shard = shards(streams, arn)[0]["ShardId"]
        old = iterator(streams, arn, shard)
        database = dynamodb_local.client("dynamodb")
        if ending == "disabled":
            off = {"StreamEnabled": False}
            database.update_table(TableName=table, StreamSpecification=off)
            described = database.describe_table(TableName=table)["Table"]
            assert described["LatestStreamArn"] == arn
            assert "StreamSpecification" not in described
        else:
            database.delete_table(TableName=table)
        description = streams.describe_stream(StreamArn=arn)["StreamDescription"]
        assert description["StreamStatus"] == "DISABLED"
        assert "EndingSequenceNumber" in description["Shards"][0]["SequenceNumberRange"]
        assert streams.list_streams(TableName=table)["Streams"][0]["StreamArn"] == arn
        for each in (old, iterator(streams, arn, shard)):
            page = streams.get_records(ShardIterator=each)
            assert len(page["Records"]) == 1
            assert "NextShardIterator" not in page


def date_of(answer: dict[str, Any]) -> datetime:
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


class TestRacingClock:
    @pytest.fixture
    def streams(self, racing_dynamodb_local: DynamoDBLocal) -> Any:
        return racing_dynamodb_local.client("dynamodbstreams")

    def test_dates_race_as_well(self, streams: Any) -> None:
        def dated() -> tuple[float, datetime, float]:
            began = time.monotonic()
            return began, date_of(streams.list_streams()), time.monotonic()

        began, first, answered = dated()
        time.sleep(1)
        began_again, second, ended = dated()
        passed = (second - first).total_seconds() / RACING
        assert 0.7 * (began_again - answered) < passed < 1.3 * (ended - began)

    def test_iterators_expire(self, racing_dynamodb_local: DynamoDBLocal, streams: Any) -> None:
        arn = racing_dynamodb_local.create_table("expiry")
        old = iterator(streams, arn, shards(streams, arn)[0]["ShardId"], "LATEST")
        time.sleep(1.5)
        error = ("ExpiredIteratorException", "")
        assert refusal(streams.get_records, ShardIterator=old) == error


@pytest.mark.parametrize("scenario", ["rolled-over"], indirect=True)
def test_a_shard_rolls_over(scenario: Result) -> None:
    # An idle shard does so as well, and has one successor.
    parent, child = scenario["listed"]
    assert child["ParentShardId"] == parent["ShardId"]
    assert "EndingSequenceNumber" in parent["SequenceNumberRange"]
    assert "EndingSequenceNumber" not in child["SequenceNumberRange"]

    # The last page of a closed shard comes with its records and with nothing to go on with.
    assert [len(page["Records"]) for page in scenario["pages"]] == [1, 1]
    assert "NextShardIterator" not in scenario["pages"][-1]
    last = scenario["pages"][-1]["Records"][0]["dynamodb"]["SequenceNumber"]
    assert parent["SequenceNumberRange"]["EndingSequenceNumber"] == last

    # After the last record there is one more answer: empty, and again the end.
    assert scenario["after_last"]["Records"] == []
    assert "NextShardIterator" not in scenario["after_last"]

    # The listing pages.
    assert [shard["ShardId"] for shard in scenario["first"]["Shards"]] == [parent["ShardId"]]
    assert scenario["first"]["LastEvaluatedShardId"] == parent["ShardId"]
    assert [shard["ShardId"] for shard in scenario["rest"]] == [child["ShardId"]]


class TestMoto:
    @pytest.fixture
    def stream(self) -> Iterator[tuple[Any, str]]:
        with mock_aws():
            database = boto3.client("dynamodb")
            # botocore takes the account from the ARN into the host name, which moto does not know.
            config = Config(account_id_endpoint_mode="disabled")
            streams = boto3.client("dynamodbstreams", config=config)
            table = database.create_table(
                TableName="orders",
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
                StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
            )
            yield streams, table["TableDescription"]["LatestStreamArn"]
            database.close()
            streams.close()

    def test_an_iterator_at_a_timestamp_is_made_but_cannot_be_read(self, stream: tuple[Any, str]) -> None:
        streams, arn = stream
        made = streams.get_shard_iterator(
            StreamArn=arn,
            ShardId=shards(streams, arn)[0]["ShardId"],
            ShardIteratorType="AT_TIMESTAMP",
            Timestamp=datetime.now(UTC),
        )
        with pytest.raises(AttributeError, match="sequence_number"):
            streams.get_records(ShardIterator=made["ShardIterator"])

    def test_an_endpoint_by_account_is_unknown(self, stream: tuple[Any, str]) -> None:
        _, arn = stream
        plain = boto3.client("dynamodbstreams")
        try:
            assert refusal(plain.describe_stream, StreamArn=arn) == ("404", "Not yet implemented")
        finally:
            plain.close()

    def test_answers_are_dated(self, stream: tuple[Any, str]) -> None:
        streams, _ = stream
        assert abs(date_of(streams.list_streams()) - datetime.now(UTC)) < timedelta(seconds=5)

    def test_a_stream_is_found_by_its_table_alone(self, stream: tuple[Any, str]) -> None:
        # AWS answers ResourceNotFoundException to a label that does not exist.
        streams, arn = stream
        assert shards(streams, arn.rpartition("/")[0] + "/" + NO_SUCH_LABEL)
