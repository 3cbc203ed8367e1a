"""The calls to the service, and how a person gets to make them. Nothing here touches the network."""

from __future__ import annotations

import inspect
import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import boto3
import botocore.exceptions as botocore_errors
import pytest
from botocore.awsrequest import AWSResponse
from botocore.stub import Stubber
from moto import mock_aws

import rxddbstream.aws.connect
from rxddbstream.aws.client import StreamClient
from rxddbstream.aws.connect import connect
from rxddbstream.aws.session import client_maker
from rxddbstream.errors import (
    AccessDenied,
    ConfigurationError,
    ConnectionLost,
    CredentialsError,
    DecodeError,
    IteratorExpired,
    IteratorTrimmed,
    MalformedAnswer,
    RequestFailed,
    ServiceUnavailable,
    ShardNotFound,
    StreamError,
    StreamNotEnabled,
    StreamNotFound,
    TableNotFound,
    Throttled,
)
from rxddbstream.model.position import After, AtTime, Latest, Position, TrimHorizon
from rxddbstream.model.shard import Shard
from rxddbstream.scheduling.pool import WORKERS

TABLE_ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders"
ARN = f"{TABLE_ARN}/stream/2026-01-31T12:00:00.000"
SHARD = "shardId-00000001412800000000-00000001"
NUMBER = "100000000000000000001"
DATE = "Fri, 27 May 2022 13:36:13 GMT"
DATED = {"HTTPHeaders": {"date": DATE}, "HTTPStatusCode": 200}
SERVICE_TIME = datetime(2022, 5, 27, 13, 36, 13, tzinfo=UTC)
OUR_TIME = datetime(2026, 1, 31, 12, tzinfo=UTC)


def our_time() -> datetime:
    return OUR_TIME


class Double:
    """A client that gives one answer, or raises it, and keeps what it was asked."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.asked: list[dict[str, Any]] = []

    def _call(self, **arguments: Any) -> Any:
        self.asked.append(arguments)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    describe_stream = get_shard_iterator = get_records = list_streams = _call


def client_of(answer: Any) -> tuple[StreamClient, Double]:
    double = Double(answer)
    return StreamClient(double, ARN, our_time), double


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def boto_client() -> Any:
    return connect(ARN, now=our_time)._boto


def client_over_http(status: int, body: bytes | str, boto: Any = None, **headers: str) -> StreamClient:
    """A real boto3 client below which every request gets this answer."""
    boto = boto or boto_client()
    raw = body.encode() if isinstance(body, str) else body

    def answer(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, status, {"Date": DATE, **headers}, _Raw(raw))

    boto.meta.events.register("before-send.dynamodb-streams", answer)
    return StreamClient(boto, ARN, our_time)


def call_list(client: StreamClient) -> Any:
    return client.list_shards()


def call_iterator(client: StreamClient) -> Any:
    return client.get_iterator(SHARD, TrimHorizon())


def call_records(client: StreamClient) -> Any:
    return client.get_records(SHARD, "iterator")


CALLS = [call_list, call_iterator, call_records]


# --- what is asked, and what comes of the answer ------------------------------------------------


def test_a_page_of_the_listing() -> None:
    boto = boto_client()
    with Stubber(boto) as stub:
        description = {
            "StreamArn": ARN,
            "StreamStatus": "ENABLED",
            "LastEvaluatedShardId": SHARD,
            "Shards": [
                {
                    "ShardId": SHARD,
                    "ParentShardId": SHARD[:-1] + "0",
                    "SequenceNumberRange": {
                        "StartingSequenceNumber": NUMBER,
                        "EndingSequenceNumber": NUMBER,
                    },
                },
                {"ShardId": SHARD[:-1] + "2", "SequenceNumberRange": {"StartingSequenceNumber": NUMBER}},
            ],
        }
        stub.add_response(
            "describe_stream",
            {"StreamDescription": description, "ResponseMetadata": DATED},
            {"StreamArn": ARN},
        )

        page = StreamClient(boto, ARN, our_time).list_shards()

    assert page.shards == [Shard(SHARD, SHARD[:-1] + "0", NUMBER), Shard(SHARD[:-1] + "2")]
    assert page.next_shard_id == SHARD
    assert page.enabled
    assert page.answered_at == SERVICE_TIME


def test_a_listing_tells_the_names_of_the_tables_key() -> None:
    schema = [{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}]

    assert client_of({"StreamDescription": {"KeySchema": schema}})[0].list_shards().keys == ("PK", "SK")
    assert client_of({"StreamDescription": {}})[0].list_shards().keys == ()


def test_a_later_page_and_the_children_of_a_shard_are_asked_for_by_its_id() -> None:
    client, double = client_of({"StreamDescription": {}})

    client.list_shards(after="a")
    client.list_shards(children_of="b")

    assert double.asked == [
        {"StreamArn": ARN, "ExclusiveStartShardId": "a"},
        {"StreamArn": ARN, "ShardFilter": {"Type": "CHILD_SHARDS", "ShardId": "b"}},
    ]


@pytest.mark.parametrize("description", [{}, {"Shards": None}, {"Shards": [], "LastEvaluatedShardId": ""}])
def test_a_listing_without_shards_is_the_last_page(description: dict[str, Any]) -> None:
    page = client_of({"StreamDescription": description})[0].list_shards()

    assert (page.shards, page.next_shard_id, page.enabled) == ([], None, True)


@pytest.mark.parametrize(
    ("status", "enabled"),
    [("ENABLING", True), ("ENABLED", True), ("DISABLING", False), ("DISABLED", False)],
)
def test_a_stream_that_was_switched_off_is_not_enabled(status: str, enabled: bool) -> None:
    client, _ = client_of({"StreamDescription": {"StreamStatus": status}})

    assert client.list_shards().enabled is enabled


@pytest.mark.parametrize(
    ("position", "arguments"),
    [
        (Latest(), {"ShardIteratorType": "LATEST"}),
        (TrimHorizon(), {"ShardIteratorType": "TRIM_HORIZON"}),
        (AtTime(OUR_TIME), {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": OUR_TIME}),
        (After(NUMBER), {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": NUMBER}),
    ],
)
def test_an_iterator_is_asked_for_by_position(position: Position, arguments: dict[str, Any]) -> None:
    boto = boto_client()
    with Stubber(boto) as stub:
        stub.add_response(
            "get_shard_iterator",
            {"ShardIterator": "iterator", "ResponseMetadata": DATED},
            {"StreamArn": ARN, "ShardId": SHARD, **arguments},
        )

        iterator = StreamClient(boto, ARN, our_time).get_iterator(SHARD, position)

    assert iterator == ("iterator", SERVICE_TIME)


def test_a_page_of_records() -> None:
    record = {"eventName": "INSERT", "dynamodb": {"SequenceNumber": NUMBER, "Keys": {"id": {"S": "o-1"}}}}
    boto = boto_client()
    with Stubber(boto) as stub:
        stub.add_response(
            "get_records",
            {"Records": [record], "NextShardIterator": "next", "ResponseMetadata": DATED},
            {"ShardIterator": "iterator"},
        )

        records = StreamClient(boto, ARN, our_time).get_records(SHARD, "iterator")

    assert records == ([record], "next", SERVICE_TIME)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, (None, None)),
        ({"Records": []}, ([], None)),
        ({"Records": [], "NextShardIterator": ""}, ([], "")),
        ({"NextShardIterator": "next"}, (None, "next")),
    ],
)
def test_what_a_page_of_records_lacks_is_left_to_the_reader(
    answer: dict[str, Any], expected: tuple[Any, Any]
) -> None:
    records = client_of(answer)[0].get_records(SHARD, "iterator")

    assert (records.records, records.next_iterator) == expected


# --- the service's time -------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
def test_the_time_of_an_answer_is_the_services(call: Callable[[StreamClient], Any]) -> None:
    answer = {"StreamDescription": {}, "ShardIterator": "i", "Records": [], "ResponseMetadata": DATED}

    assert call(client_of(answer)[0]).answered_at == SERVICE_TIME


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"HTTPHeaders": None},
        {"HTTPHeaders": {}},
        {"HTTPHeaders": {"date": "soon"}},
        {"HTTPHeaders": {"date": ""}},
    ],
)
def test_without_a_date_header_it_is_ours(metadata: Any) -> None:
    client, _ = client_of({"Records": [], "ResponseMetadata": metadata})

    assert client.get_records(SHARD, "iterator").answered_at == OUR_TIME


def test_the_services_time_goes_on_between_its_answers() -> None:
    ours = OUR_TIME
    client = StreamClient(Double({"Records": [], "ResponseMetadata": DATED}), ARN, lambda: ours)
    assert client.time == OUR_TIME

    for seconds in (0.0, 0.25, 0.5):  # answers of the same second
        ours = OUR_TIME + timedelta(seconds=seconds)
        client.get_records(SHARD, "iterator")
        assert client.time == SERVICE_TIME + timedelta(seconds=seconds)


def test_the_date_header_of_a_real_answer_is_read() -> None:
    client = client_over_http(200, '{"Records": [], "NextShardIterator": "next"}')

    assert client.get_records(SHARD, "iterator") == ([], "next", SERVICE_TIME)


# --- answers that were cut ----------------------------------------------------------------------


@pytest.mark.parametrize("answer", [{}, {"StreamDescription": {"Shards": [{"ParentShardId": "p"}]}}])
def test_a_listing_that_was_cut_is_malformed(answer: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswer, match=f"without a description of stream {ARN}"):
        client_of(answer)[0].list_shards()


@pytest.mark.parametrize("answer", [{}, {"ShardIterator": ""}, {"ShardIterator": None}])
def test_an_answer_without_its_iterator_is_malformed(answer: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswer, match=f"answered without one for shard {SHARD}"):
        client_of(answer)[0].get_iterator(SHARD, Latest())


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"dynamodb": None},
        {"dynamodb": {}},
        {"dynamodb": {"SequenceNumber": ""}},
        {"dynamodb": {"SequenceNumber": "x1"}},
    ],
)
@pytest.mark.parametrize("is_last", [True, False])
def test_a_record_without_a_sequence_number_is_an_error_that_no_other_try_would_mend(
    record: dict[str, Any], is_last: bool
) -> None:
    sound = {"dynamodb": {"SequenceNumber": NUMBER}}
    records = [sound, record] if is_last else [record, sound]
    with pytest.raises(DecodeError, match=f"a record of shard {SHARD} of .* has no sequence number"):
        client_of({"Records": records})[0].get_records(SHARD, "iterator")


CUT_BODIES = [b"", b"{", b'{"StreamDescription": {"Sha', b'{"ShardIterator": "', b'{"Records": [{']


@pytest.mark.parametrize("body", CUT_BODIES)
def test_a_body_that_was_cut_is_malformed(body: bytes) -> None:
    client = client_over_http(200, body)

    for call in CALLS:
        with pytest.raises(MalformedAnswer):
            call(client)


@pytest.mark.parametrize("body", CUT_BODIES)
def test_a_ready_made_client_makes_an_empty_answer_of_a_body_that_was_cut(body: bytes) -> None:
    client = client_over_http(200, body, boto3.client("dynamodbstreams", region_name="eu-west-1"))

    for call in (call_list, call_iterator):
        with pytest.raises(MalformedAnswer):
            call(client)
    assert client.get_records(SHARD, "iterator") == (None, None, SERVICE_TIME)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "ThrottlingException", Throttled),
        (400, "LimitExceededException", Throttled),
        (400, "AccessDeniedException", AccessDenied),
        (400, "UnrecognizedClientException", CredentialsError),
        (400, "ExpiredTokenException", CredentialsError),
        (400, "ValidationException", RequestFailed),
        (500, "InternalServerError", ServiceUnavailable),
    ],
)
def test_an_error_of_the_service_is_the_librarys_with_botocores_behind_it(
    call: Callable[[StreamClient], Any], status: int, code: str, kind: type[StreamError]
) -> None:
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "Because."}
    client = client_over_http(status, json.dumps(body))

    with pytest.raises(StreamError) as caught:
        call(client)

    assert type(caught.value) is kind
    assert f"{code}: Because." in str(caught.value)
    assert ARN in str(caught.value)
    assert isinstance(caught.value.__cause__, botocore_errors.ClientError)


@pytest.mark.parametrize(
    ("call", "code", "kind"),
    [
        (call_list, "ResourceNotFoundException", StreamNotFound),
        (call_iterator, "ResourceNotFoundException", ShardNotFound),
        (call_records, "ResourceNotFoundException", ShardNotFound),
        (call_iterator, "TrimmedDataAccessException", IteratorTrimmed),
        (call_records, "TrimmedDataAccessException", IteratorTrimmed),
        (call_records, "ExpiredIteratorException", IteratorExpired),
    ],
)
def test_what_is_not_found_depends_on_the_call(
    call: Callable[[StreamClient], Any], code: str, kind: type[StreamError]
) -> None:
    with pytest.raises(StreamError, match=ARN) as caught:
        call(client_over_http(400, json.dumps({"__type": code, "message": "Gone."})))

    assert type(caught.value) is kind


def test_a_stream_that_is_not_found_says_what_to_check() -> None:
    with pytest.raises(StreamNotFound, match="check the ARN, its region and account") as raised:
        call_list(client_over_http(400, '{"__type": "ResourceNotFoundException", "message": "Gone."}'))
    assert str(raised.value).count("arn:") == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxys_page_of_html_is_a_5xx(status: int) -> None:
    with pytest.raises(ServiceUnavailable):
        call_records(client_over_http(status, "<html>Bad Gateway</html>"))


@pytest.mark.parametrize(
    ("call", "doing"),
    [
        (call_list, f"describing stream {ARN}"),
        (call_iterator, f"opening shard {SHARD} of {ARN}"),
        (call_records, f"reading shard {SHARD} of {ARN}"),
    ],
)
def test_a_call_that_got_no_answer_says_what_it_was_for(
    call: Callable[[StreamClient], Any], doing: str
) -> None:
    cause = botocore_errors.ConnectTimeoutError(endpoint_url="https://there")

    with pytest.raises(ConnectionLost, match=doing) as caught:
        call(client_of(cause)[0])

    assert caught.value.__cause__ is cause


def test_each_call_is_made_once() -> None:
    calls = []
    client = client_over_http(500, "{}")
    client._boto.meta.events.register_first(
        "before-send.dynamodb-streams", lambda **_: calls.append(1), unique_id="count"
    )

    with pytest.raises(ServiceUnavailable):
        call_records(client)

    assert len(calls) == 1


# --- connecting ---------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Callable[..., None]:
    """Sets environment variables (None unsets) and the text of ~/.aws/config."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    def set_up(config: str = "", **variables: str | None) -> None:
        (tmp_path / "config").write_text(config)
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return set_up


@pytest.fixture
def aws(environment: Callable[..., None]) -> Iterator[None]:
    """An account with the tables `orders`, which has a stream, and `plain`, which has none."""
    environment(AWS_DEFAULT_REGION="eu-west-1")
    with mock_aws():
        dynamodb = boto3.client("dynamodb")
        for name in ("orders", "plain"):
            dynamodb.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        dynamodb.update_table(
            TableName="orders",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        dynamodb.close()
        yield


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


# --- the region ---------------------------------------------------------------------------------


def region_of(client: StreamClient) -> str:
    region: str = client._boto.meta.region_name
    return region


@pytest.mark.parametrize("stream", [ARN, TABLE_ARN])
def test_the_region_of_an_arn_is_the_one_that_is_asked_in(
    environment: Callable[..., None], stream: str
) -> None:
    environment("[profile paris]\nregion = eu-west-3\n", AWS_DEFAULT_REGION="us-east-2")
    session = boto3.Session(region_name="eu-north-1")

    for how in ({}, {"profile_name": "paris"}, {"session": session}, {"region_name": "eu-west-1"}):
        make = client_maker(
            stream,
            how.get("session"),
            cast(str | None, how.get("region_name")),
            cast(str | None, how.get("profile_name")),
            None,
            1,
        )
        for service in ("dynamodb", "dynamodbstreams"):
            assert make(service).meta.region_name == "eu-west-1", how


@pytest.mark.parametrize("stream", [ARN, TABLE_ARN])
@pytest.mark.parametrize(
    "arguments",
    [
        {"region_name": "us-east-1"},
        {"endpoint_url": "https://dynamodb.us-east-1.amazonaws.com"},
        {"endpoint_url": "https://vpce-1-2.dynamodb.us-east-1.vpce.amazonaws.com"},
        {"endpoint_url": "https://dynamodb.us-east-1.api.aws"},
    ],
    ids=str,
)
def test_an_arn_and_another_region_are_refused(stream: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"is in region eu-west-1, and .* us-east-1: a table"):
        connect(stream, now=our_time, **arguments)


def test_an_arn_and_an_endpoint_of_another_region_in_the_environment_are_refused(
    environment: Callable[..., None],
) -> None:
    environment(AWS_ENDPOINT_URL="https://dynamodb.us-east-1.amazonaws.com")

    with pytest.raises(ConfigurationError, match="is of us-east-1"):
        connect(ARN, now=our_time)


@pytest.mark.parametrize("stream", [ARN, TABLE_ARN])
def test_an_arn_and_a_client_of_another_region_are_refused(stream: str) -> None:
    client = boto3.client("dynamodbstreams", region_name="us-east-1")

    with pytest.raises(ConfigurationError, match="client= is of us-east-1"):
        connect(stream, now=our_time, client=client)


def test_an_arn_with_a_made_up_region_is_asked_for_wherever_one_says() -> None:
    made_up = ARN.replace("eu-west-1", "ddblocal")

    local = connect(made_up, now=our_time, region_name="us-east-2", endpoint_url="http://127.0.0.1:1")
    assert region_of(local) == "us-east-2"
    given = boto3.client("dynamodbstreams", region_name="us-east-1", endpoint_url="http://127.0.0.1:1")
    assert connect(made_up, now=our_time, client=given).arn == made_up


def test_a_region_given_beats_the_sessions() -> None:
    session = boto3.Session(region_name="eu-north-1")
    made_up = ARN.replace("eu-west-1", "ddblocal")

    client = connect(made_up, now=our_time, session=session, region_name="ap-south-1")
    assert region_of(client) == "ap-south-1"


def test_checkpoints_may_be_in_another_region_than_the_stream(environment: Callable[..., None]) -> None:
    environment(AWS_DEFAULT_REGION="us-east-2")

    def region(name: str | None = None) -> Any:
        return client_maker(ARN, None, name, None, None, 1, is_beside=True)("dynamodb").meta.region_name

    assert (region(), region("us-east-1")) == ("us-east-2", "us-east-1")
    environment(AWS_DEFAULT_REGION=None)
    assert region() == "eu-west-1"


@pytest.mark.parametrize("stream", [ARN, "orders"])
@pytest.mark.parametrize("is_set", [False, True])
def test_an_endpoints_password_is_in_no_log_and_no_error(
    stream: str, is_set: bool, environment: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    url = "http://user:hunter2@127.0.0.1:1"
    if is_set:
        environment(AWS_ENDPOINT_URL=url)
    with caplog.at_level(logging.DEBUG, "rxddbstream"), pytest.raises(ConnectionLost) as raised:
        connect(stream, now=our_time, endpoint_url=None if is_set else url).list_shards()

    told = f"{caplog.text} {raised.value} {raised.value.__cause__}"
    assert "http://127.0.0.1:1" in told
    assert "hunter2" not in told


def test_a_mistyped_endpoint_shows_no_password() -> None:
    with pytest.raises(ConfigurationError) as raised:
        connect(ARN, now=our_time, endpoint_url="user:hunter2@localhost:8000")
    assert "hunter2" not in f"{raised.value} {raised.value.__cause__}"


def test_a_given_clients_endpoint_shows_no_password() -> None:
    where = {"region_name": "eu-west-1", "endpoint_url": "http://user:hunter2@localhost:8000"}
    missing = botocore_errors.ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "ListStreams")
    for answer in (missing, {"Streams": []}):
        double = Double(answer)
        double.meta = SimpleNamespace(**where)  # type: ignore[attr-defined]
        with pytest.raises(StreamNotFound, match="localhost:8000") as raised:
            connect("orders", now=our_time, client=double)
        assert "hunter2" not in str(raised.value)


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


@pytest.mark.parametrize(
    "arn", ["arn:scylla:x/stream/1", "arn:aws:dynamodb::1:table/t/stream/1", "x/stream/y"]
)
def test_an_arn_without_a_region_gives_none(environment: Callable[..., None], arn: str) -> None:
    environment(AWS_DEFAULT_REGION=None)

    with pytest.raises(ConfigurationError, match="no region"):
        connect(arn, now=our_time)


# --- the client's settings ----------------------------------------------------------------------


def test_the_client_makes_one_attempt_with_short_time_outs_and_a_connection_for_each_worker() -> None:
    config = connect(ARN, now=our_time)._boto.meta.config

    assert config.retries["total_max_attempts"] == 1
    assert config.max_pool_connections == WORKERS + 1  # of discovery
    assert config.connect_timeout <= 10
    assert config.read_timeout <= 10


def test_the_client_says_who_it_is() -> None:
    assert "rxddbstream/" in connect(ARN, now=our_time)._boto.meta.config.user_agent


def test_the_endpoint_is_the_regional_one() -> None:
    assert endpoint_mode() == "disabled"


@pytest.mark.parametrize("mode", ["preferred", "required", "disabled"])
def test_an_endpoint_mode_that_the_user_set_is_respected(environment: Callable[..., None], mode: str) -> None:
    environment(AWS_ACCOUNT_ID_ENDPOINT_MODE=mode)
    assert endpoint_mode() == mode

    environment(f"[profile p]\naccount_id_endpoint_mode = {mode}\n", AWS_ACCOUNT_ID_ENDPOINT_MODE=None)
    assert endpoint_mode(profile_name="p") == mode


def endpoint_mode(**arguments: Any) -> str:
    mode: str = connect(ARN, now=our_time, **arguments)._boto.meta.config.account_id_endpoint_mode
    return mode


def test_requests_go_to_the_region_and_not_to_the_account() -> None:
    asked = []
    client = client_over_http(200, '{"Records": []}')
    client._boto.meta.events.register_first(
        "before-send.dynamodb-streams", lambda request, **_: asked.append(request)
    )

    client.get_records(SHARD, "iterator")

    (request,) = asked
    assert request.url == "https://streams.dynamodb.eu-west-1.amazonaws.com/"
    assert b"rxddbstream/" in request.headers["User-Agent"]


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
