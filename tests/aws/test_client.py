"""The calls to the service. Nothing here touches the network."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import botocore.exceptions as botocore_errors
import pytest
from botocore.stub import Stubber
from support.aws import (
    ARN,
    DATED,
    NUMBER,
    OUR_TIME,
    SERVICE_TIME,
    SHARD,
    TABLE_ARN,
    Double,
    boto_client,
    client_of,
    client_over_http,
    our_time,
)

from rxddbstream.aws.client import StreamClient
from rxddbstream.errors import (
    AccessDenied,
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
    StreamNotFound,
    Throttled,
)
from rxddbstream.model.position import After, AtTime, Latest, Position, TrimHorizon
from rxddbstream.model.shard import Shard


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
        {"HTTPHeaders": {"date": None}},
        {"HTTPHeaders": {"date": "Fri, 31 Dec 9999 23:59:59 -1200"}},
        {"HTTPHeaders": {"date": "Fri, 31 Dec 9999 23:59:59 GMT"}},
        {"HTTPHeaders": {"date": "Thu, 01 Jan 1970 00:00:00 GMT"}},
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
    with pytest.raises(MalformedAnswer, match=f"describing stream {ARN}: not an answer to that: .* missing"):
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


class Paged:
    """A client that lists one stream a page."""

    def __init__(self, *arns: str) -> None:
        self._arns = arns

    def list_streams(self, *, TableName: str, ExclusiveStartStreamArn: str = "") -> Any:  # noqa: N803
        assert TableName == "orders"
        number = self._arns.index(ExclusiveStartStreamArn) + 1 if ExclusiveStartStreamArn else 0
        page: dict[str, Any] = {"Streams": [{"StreamArn": self._arns[number]}]}
        return page | ({"LastEvaluatedStreamArn": self._arns[number]} if self._arns[number + 1 :] else {})


def test_all_streams_of_a_table_are_listed_page_by_page() -> None:
    arns = [f"{TABLE_ARN}/stream/{label}" for label in "abc"]

    assert StreamClient(Paged(*arns), ARN, our_time).streams_of_table() == arns


def test_a_list_of_streams_that_leads_back_is_malformed() -> None:
    client, _ = client_of({"Streams": [{"StreamArn": ARN}], "LastEvaluatedStreamArn": ARN})

    with pytest.raises(MalformedAnswer, match="leads back"):
        client.streams_of_table()


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_where_streams_may_not_be_listed_that_is_logged(code: str, caplog: pytest.LogCaptureFixture) -> None:
    client, _ = client_of(botocore_errors.ClientError({"Error": {"Code": code}}, "ListStreams"))

    assert client.streams_of_table() == []
    assert "a stream that table 'orders' had in between is not looked for" in caplog.text


def test_streams_that_an_answer_lacks_are_asked_for_again() -> None:
    with pytest.raises(MalformedAnswer, match="listing the streams of table 'orders': not an answer"):
        client_of({})[0].streams_of_table()
