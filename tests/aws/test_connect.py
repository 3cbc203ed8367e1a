"""How a person gets to a stream: by its ARN or by its table, with what boto3 has been told."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.exceptions as botocore_errors
import pytest
from support.aws import (
    ARN,
    SHARD,
    TABLE_ARN,
    Double,
    our_time,
)

import rxddbstream.aws.connect
from rxddbstream.aws.connect import connect
from rxddbstream.errors import (
    AccessDenied,
    ConfigurationError,
    ConnectionLost,
    CredentialsError,
    MalformedAnswer,
    RequestFailed,
    StreamError,
    StreamNotEnabled,
    TableNotFound,
)


def stream_of_orders() -> str:
    dynamodb = boto3.client("dynamodb")
    arn: str = dynamodb.describe_table(TableName="orders")["Table"]["LatestStreamArn"]
    dynamodb.close()
    return arn


@pytest.mark.parametrize("name", ["orders", TABLE_ARN])
@pytest.mark.usefixtures("aws")
def test_a_table_is_found_by_its_name_and_by_its_arn(name: str) -> None:
    client = connect(name, now=our_time)

    assert client.arn == stream_of_orders()
    assert client.list_shards().shards


@pytest.mark.usefixtures("aws")
def test_a_streams_arn_is_taken_as_it_is() -> None:
    arn = stream_of_orders()

    client = connect(arn, now=our_time)

    assert client.arn == arn
    assert client.list_shards().shards


def test_a_streams_arn_is_not_looked_up_and_need_not_look_like_amazons() -> None:
    assert connect("arn:scylla:x/stream/1", now=our_time).arn == "arn:scylla:x/stream/1"


@pytest.mark.parametrize("name", ["nothing", TABLE_ARN.replace("orders", "nothing")])
@pytest.mark.usefixtures("aws")
def test_an_unknown_table_says_where_it_was_looked_for(name: str) -> None:
    with pytest.raises(TableNotFound) as caught:
        connect(name, now=our_time)

    assert "no table 'nothing' in region eu-west-1 at https://dynamodb.eu-west-1" in str(caught.value)
    assert "check its name, the region and the account" in str(caught.value)


@pytest.mark.usefixtures("aws")
def test_a_table_of_another_region_is_unknown() -> None:
    with pytest.raises(TableNotFound, match="in region us-east-2"):
        connect("orders", now=our_time, region_name="us-east-2")


@pytest.mark.usefixtures("aws")
def test_a_table_without_a_stream_says_how_to_enable_one() -> None:
    with pytest.raises(StreamNotEnabled, match="table 'plain' has no stream") as caught:
        connect("plain", now=our_time)

    assert "aws dynamodb update-table" in str(caught.value)
    assert "StreamViewType=NEW_AND_OLD_IMAGES" in str(caught.value)


@pytest.mark.usefixtures("aws")
def test_a_table_whose_stream_was_switched_off_has_none() -> None:
    dynamodb = boto3.client("dynamodb")
    dynamodb.update_table(TableName="orders", StreamSpecification={"StreamEnabled": False})
    dynamodb.close()

    with pytest.raises(StreamNotEnabled, match="table 'orders' has no stream"):
        connect("orders", now=our_time)


def test_without_a_region_it_says_where_to_put_one(environment: Callable[..., None]) -> None:
    environment(AWS_DEFAULT_REGION=None)

    with pytest.raises(ConfigurationError) as caught:
        connect("orders", now=our_time)

    for hint in ("region_name=", "--region", "AWS_DEFAULT_REGION", "profile"):
        assert hint in str(caught.value)


@pytest.mark.parametrize("stream", ["orders", ARN])
def test_without_credentials_it_says_where_to_put_them(environment: Callable[..., None], stream: str) -> None:
    environment(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)

    with pytest.raises(CredentialsError, match="run 'aws configure'"):
        connect(stream, now=our_time).list_shards()


def test_an_unknown_profile_is_named(environment: Callable[..., None]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"profile \(nobody\) could not be found. Check .* ~/.aws/config"
    ):
        connect("orders", now=our_time, profile_name="nobody")

    environment(AWS_PROFILE="nobody")
    with pytest.raises(ConfigurationError, match=r"profile \(nobody\)"):
        connect("orders", now=our_time)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"endpoint_url": "nonsense"}, "Invalid endpoint: nonsense"),
        ({"region_name": "no region"}, "no region"),
    ],
)
def test_a_malformed_endpoint_or_region_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        connect(ARN, now=our_time, **arguments)


def test_an_endpoint_is_used_for_both_services() -> None:
    closed_port = "http://127.0.0.1:1"

    assert connect(ARN, now=our_time, endpoint_url=closed_port)._boto.meta.endpoint_url == closed_port
    with pytest.raises(ConnectionLost, match=closed_port):
        connect("orders", now=our_time, endpoint_url=closed_port)


# --- the table of an ARN


@pytest.mark.usefixtures("aws")
def test_a_table_of_the_arns_region_is_read_whatever_the_session_says(
    environment: Callable[..., None],
) -> None:
    """There is a table of that name in both."""
    expected = stream_of_orders()
    other = boto3.client("dynamodb", region_name="us-east-1")
    other.create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    other.close()
    environment(AWS_DEFAULT_REGION="us-east-1")

    assert connect(TABLE_ARN, now=our_time).arn == expected
    assert ":us-east-1:" in connect("orders", now=our_time).arn


@pytest.mark.usefixtures("aws")
def test_a_table_of_another_account_is_not_one_of_the_same_name() -> None:
    elsewhere = TABLE_ARN.replace("123456789012", "111111111111")

    with pytest.raises(TableNotFound, match="account 111111111111"):
        connect(elsewhere, now=our_time)
    given = boto3.client("dynamodbstreams")
    with pytest.raises(TableNotFound, match="check the ARN's region and account"):
        connect(elsewhere, now=our_time, client=given)


class Tables:
    """A double of a client for tables that knows them by some names."""

    def __init__(self, url: str, knows: Callable[[str], bool], arn: str = ARN) -> None:
        self.meta = SimpleNamespace(region_name="eu-west-1", endpoint_url=url)
        self.asked: list[str] = []
        self._knows = knows
        self._arn = arn

    def describe_table(self, TableName: str) -> Any:  # noqa: N803 - as boto3 has it
        self.asked.append(TableName)
        if not self._knows(TableName):
            raise botocore_errors.ClientError({"Error": {"Code": "ValidationException"}}, "DescribeTable")
        return {"Table": {"LatestStreamArn": self._arn, "StreamSpecification": {"StreamEnabled": True}}}

    def close(self) -> None:
        pass


def test_an_arn_goes_to_the_service_as_it_is() -> None:
    tables = Tables("https://dynamodb.eu-west-1.amazonaws.com", lambda name: True)

    assert rxddbstream.aws.connect._latest_stream(tables, TABLE_ARN, "orders") == ARN
    assert tables.asked == [TABLE_ARN]


def test_a_stand_in_that_takes_no_arn_is_asked_by_the_tables_name() -> None:
    local = ARN.replace("eu-west-1:123456789012", "ddblocal:000000000000")
    tables = Tables("http://localhost:8000", lambda name: name == "orders", local)

    assert rxddbstream.aws.connect._latest_stream(tables, TABLE_ARN, "orders") == local
    assert tables.asked == [TABLE_ARN, "orders"]


def test_aws_is_not_asked_by_a_name_where_it_refuses_the_arn() -> None:
    tables = Tables("https://dynamodb.eu-west-1.amazonaws.com", lambda name: name == "orders")

    with pytest.raises(RequestFailed, match="ValidationException"):
        rxddbstream.aws.connect._latest_stream(tables, TABLE_ARN, "orders")


@pytest.mark.parametrize("wrong", ["us-east-1:123456789012", "eu-west-1:111111111111"])
def test_an_answer_about_another_table_is_refused(wrong: str) -> None:
    answer = ARN.replace("eu-west-1:123456789012", wrong)
    tables = Tables("http://localhost:8000", lambda name: True, answer)

    with pytest.raises(TableNotFound, match=f"there is no {TABLE_ARN} for these credentials"):
        rxddbstream.aws.connect._latest_stream(tables, TABLE_ARN, "orders")
    with pytest.raises(TableNotFound, match=wrong):
        connect(TABLE_ARN, now=our_time, client=Double({"Streams": [{"StreamArn": answer}]}))


# --- what is given is used ----------------------------------------------------------------------


def test_a_session_that_is_given_is_used() -> None:
    session = boto3.Session("their-key", "their-secret", region_name="eu-west-1")

    boto = connect(ARN, now=our_time, session=session)._boto

    assert boto._request_signer._credentials.access_key == "their-key"


def test_a_client_that_is_given_is_used_as_it_is() -> None:
    double = Double({"Records": []})

    client = connect(ARN, now=our_time, client=double)
    client.get_records(SHARD, "iterator")

    assert client.arn == ARN
    assert double.asked == [{"ShardIterator": "iterator"}]


@pytest.mark.parametrize("name", ["orders", TABLE_ARN])
def test_a_client_that_is_given_finds_a_tables_newest_stream(name: str) -> None:
    labels = ["2026-01-02T00:00:00.000", "2026-01-10T00:00:00.000", "2025-12-31T00:00:00.000"]
    streams = [{"StreamArn": f"{TABLE_ARN}/stream/{label}", "StreamLabel": label} for label in labels]
    double = Double({"Streams": streams})

    client = connect(name, now=our_time, client=double)

    assert client.arn == f"{TABLE_ARN}/stream/{labels[1]}"
    assert double.asked == [{"TableName": "orders"}]


def test_a_client_that_is_given_and_finds_no_stream_names_all_that_it_may_come_from() -> None:
    with pytest.raises(StreamNotEnabled, match="no table 'orders', or it has no stream") as caught:
        connect("orders", now=our_time, client=Double({"Streams": []}))

    assert "whether the table was deleted" in str(caught.value)
    assert "Where it is there: to enable one: aws dynamodb update-table" in str(caught.value)


@pytest.mark.usefixtures("aws")
def test_a_client_that_is_given_says_where_it_found_no_stream() -> None:
    client = boto3.client("dynamodbstreams", region_name="eu-central-1")
    with pytest.raises(StreamNotEnabled, match="no table 'orders' in region eu-central-1 at https://"):
        connect("orders", now=our_time, client=client)
    client.close()


def test_a_client_that_is_given_and_knows_no_such_table_says_so() -> None:
    missing = botocore_errors.ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "ListStreams")

    with pytest.raises(TableNotFound, match="no table 'orders'"):
        connect("orders", now=our_time, client=Double(missing))


def test_a_client_of_another_service_is_told_from_the_call_that_it_lacks() -> None:
    dynamodb = boto3.client("dynamodb", region_name="eu-west-1")

    with pytest.raises(StreamError, match="no attribute 'list_streams'"):
        connect("orders", now=our_time, client=dynamodb)
    with pytest.raises(StreamError, match="no attribute 'describe_stream'"):
        connect(ARN, now=our_time, client=dynamodb).list_shards()


def test_the_errors_that_connecting_raises_name_the_call() -> None:
    denied = botocore_errors.ClientError({"Error": {"Code": "AccessDeniedException"}}, "ListStreams")

    with pytest.raises(AccessDenied, match="looking up table 'orders'"):
        connect("orders", now=our_time, client=Double(denied))


def test_connecting_takes_nothing_but_the_stream_by_position() -> None:
    kinds = [parameter.kind for parameter in inspect.signature(connect).parameters.values()]

    assert kinds[1:] == [inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 1)


@pytest.mark.system
@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ("[profile p]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=nobody\n", ConfigurationError),
        ("[profile p]\nsso_session=nobody\nsso_account_id=1\nsso_role_name=x\n", ConfigurationError),
        ("[profile p]\nretry_mode=bogus\n", ConfigurationError),
        ("[profile p]\ncredential_process=/bin/false\n", CredentialsError),
        ("[profile p]\ncredential_process=/no/such/program\n", CredentialsError),
        ("[profile p]\ncredential_process=/etc/passwd\n", CredentialsError),
        ("[profile p]\ncredential_process=/bin/echo nonsense\n", CredentialsError),
        ("[profile p]\ncredential_process=/bin/echo [1]\n", CredentialsError),
        ("[profile p]\nrole_arn=arn:aws:iam::1:role/x\ncredential_source=Environment\n", CredentialsError),
        ("[[nonsense", ConfigurationError),
    ],
)
def test_a_broken_profile_is_explained(environment, config, kind):
    environment(config, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_PROFILE="p")
    for stream in (ARN, "orders"):
        with pytest.raises(kind) as raised:
            connect(stream, now=our_time)
        assert "network" not in str(raised.value)


def test_half_of_the_credentials_says_which_half_is_missing(environment):
    environment(AWS_SECRET_ACCESS_KEY=None)
    with pytest.raises(CredentialsError, match="AWS_SECRET_ACCESS_KEY"):
        connect(ARN, now=our_time)


def test_a_cut_answer_to_describe_table_is_malformed():
    class DynamoDB:
        meta = SimpleNamespace(region_name="eu-west-1", endpoint_url="http://localhost:8000")

        def describe_table(self, **_):
            return {}

        def close(self):
            pass

    with pytest.raises(MalformedAnswer):
        rxddbstream.aws.connect._latest_stream(DynamoDB(), "orders", "orders")


def test_a_table_that_is_being_deleted_is_not_one_to_enable_a_stream_on():
    class DynamoDB:
        meta = SimpleNamespace(region_name="eu-west-1", endpoint_url="http://localhost:8000")

        def describe_table(self, **_):
            return {"Table": {"TableStatus": "DELETING"}}

        def close(self):
            pass

    with pytest.raises(TableNotFound, match="is being deleted") as raised:
        rxddbstream.aws.connect._latest_stream(DynamoDB(), "orders", "orders")
    assert "update-table" not in str(raised.value)


def test_a_cut_answer_to_list_streams_is_malformed():
    with pytest.raises(MalformedAnswer):
        connect("orders", now=our_time, client=Double({}))


@pytest.mark.parametrize("stream", ["arn:foo", "arn:aws:sqs:eu-west-1:123456789012:orders"])
def test_another_things_arn_is_not_looked_up_as_a_table(stream):
    for client in (None, Double({})):
        with pytest.raises(ConfigurationError, match="looks like an ARN, but is not a stream's or a table's"):
            connect(stream, now=our_time, client=client)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("table", ["plain", TABLE_ARN.replace("orders", "plain")])
def test_the_command_that_enables_a_stream_names_the_table(table):
    with pytest.raises(StreamNotEnabled, match="update-table --table-name plain --stream"):
        connect(table, now=our_time)


def test_an_endpoint_without_a_scheme_is_told_so():
    with pytest.raises(ConfigurationError) as caught:
        connect(ARN, now=our_time, endpoint_url="localhost:8000")
    assert str(caught.value) == "Invalid endpoint: localhost:8000: it must begin with http:// or https://"


def test_a_message_of_botocores_that_ends_in_a_full_stop_is_given_no_second_one():
    with pytest.raises(ConfigurationError, match=r"supported format\. Check the arguments"):
        connect("orders", now=our_time, region_name="eu_west_1")


@pytest.mark.system
def test_without_a_handler_the_log_is_silent():
    script = "import rxddbstream, logging; rxddbstream.changes; logging.getLogger('rxddbstream').error('x')"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stderr == ""


def test_a_stream_that_was_switched_off_is_named_for_who_has_not_read_all_of_it():
    class DynamoDB:
        meta = SimpleNamespace(region_name="eu-west-1", endpoint_url="http://localhost:8000")

        def describe_table(self, **_):
            return {"Table": {"TableStatus": "ACTIVE", "LatestStreamArn": ARN}}

        def close(self):
            pass

    with pytest.raises(StreamNotEnabled, match=f"can be read for 24 hours by its ARN, {ARN}"):
        rxddbstream.aws.connect._latest_stream(DynamoDB(), "orders", "orders")
