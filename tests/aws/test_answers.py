"""Answers and records of another kind than the service documents, as boto3 has them and as they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import given
from hypothesis import strategies as st
from support.aws import ARN, NUMBER, OUR_TIME, SHARD, Double, Raw, client_of, client_over_http

import rxddbstream.aws.connect
from rxddbstream.aws.client import StreamClient
from rxddbstream.cli.doctor.service import Reached, check_clock
from rxddbstream.errors import DecodeError, MalformedAnswer, TransientError
from rxddbstream.model.change import Change
from rxddbstream.model.messages import Records
from rxddbstream.model.position import TrimHorizon
from rxddbstream.reading.statistics import Counts
from rxddbstream.views.text import summary


def call_list(client: StreamClient) -> Any:
    return client.list_shards()


def call_iterator(client: StreamClient) -> Any:
    return client.get_iterator(SHARD, TrimHorizon())


def call_records(client: StreamClient) -> Any:
    return client.get_records(SHARD, "iterator")


def call_streams(client: StreamClient) -> Any:
    return client.streams_of_table()


CALLS = [call_list, call_iterator, call_records, call_streams]

ODD = [None, [], "text", 5, True]


def call_table(client: StreamClient) -> Any:
    return rxddbstream.aws.connect._newest_stream(client._boto, "orders", "orders")


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (call_list, {"StreamDescription": {"Shards": [{"ShardId": "s-1"}], "KeySchema": []}}),
        (call_list, {"StreamDescription": {"Shards": [{"ShardId": "s-1", "SequenceNumberRange": {}}]}}),
        (call_list, {"StreamDescription": {"LastEvaluatedShardId": "s-1", "StreamStatus": "ENABLED"}}),
        (call_iterator, {"ShardIterator": "next"}),
        (call_records, {"Records": [], "NextShardIterator": "next"}),
        (call_table, {"Streams": [{"StreamArn": ARN, "StreamLabel": "1"}]}),
    ],
)
def test_an_answer_is_malformed_wherever_a_part_of_it_is_of_another_kind(
    call: Callable[[StreamClient], Any], answer: dict[str, Any]
) -> None:
    call(client_of(answer)[0])
    told = []
    for odd in _with_an_odd_part(answer):
        client = client_of(odd)[0]
        try:
            call(client)
        except MalformedAnswer as error:
            told.append(str(error))
        else:
            assert "None" in str(odd)  # a member that may be missing
    assert len(told) >= 5
    assert all("not an answer to that" in text or "without one" in text for text in told)


def _with_an_odd_part(value: Any) -> Iterator[Any]:
    yield from (odd for odd in ODD if not isinstance(odd, type(value)))
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from ({**value, name: odd} for odd in _with_an_odd_part(inner))
    if isinstance(value, list):
        for number, inner in enumerate(value):
            yield from ([*value[:number], odd, *value[number + 1 :]] for odd in _with_an_odd_part(inner))


ODD_BODIES = [b"null", b"[]", b'"text"', b"5", b"true", b'{"Records": "\xff"}', b"[" * 100_000]


@pytest.mark.parametrize("is_ready_made", [False, True])
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("body", ODD_BODIES, ids=lambda body: body[:12])
def test_json_of_another_kind_is_a_passing_failure_of_each_call(
    body: bytes, status: int, is_ready_made: bool
) -> None:
    boto = boto3.client("dynamodbstreams", region_name="eu-west-1") if is_ready_made else None
    client = client_over_http(status, body, boto)
    for call in (*CALLS, call_table):
        with pytest.raises(TransientError):
            call(client)


@pytest.mark.parametrize("body", ODD_BODIES, ids=lambda body: body[:12])
def test_json_of_another_kind_is_a_passing_failure_of_looking_a_table_up(body: bytes) -> None:
    boto = boto3.client("dynamodb", region_name="eu-west-1")
    boto.meta.events.register(
        "before-send.dynamodb", lambda request, **_: AWSResponse(request.url, 200, {}, Raw(body))
    )
    with pytest.raises(MalformedAnswer, match="looking up table 'orders': "):
        rxddbstream.aws.connect._latest_stream(boto, "orders", "orders")


RECORD: dict[str, Any] = {
    "eventID": "e-1",
    "eventName": "INSERT",
    "eventVersion": "1.1",
    "eventSource": "aws:dynamodb",
    "awsRegion": "eu-west-1",
    "dynamodb": {
        "ApproximateCreationDateTime": 1_700_000_000,
        "Keys": {"id": {"S": "o-1"}},
        "NewImage": {"id": {"S": "o-1"}},
        "OldImage": {"id": {"S": "o-1"}},
        "SequenceNumber": NUMBER,
        "SizeBytes": 10,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    },
    "userIdentity": {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"},
}


def looked_at(records: Records) -> None:
    """All that printing and counting looks at."""
    counts = Counts()
    counts.answered(records.records or ())
    for record in records.records or ():
        change = Change(record, SHARD)
        summary(change)
        _ = change.size_bytes, change.view_type, change.user_identity, change.is_ttl_delete, change.event_id
        _ = change.new_image and dict(change.new_image), change.old_image and dict(change.old_image)
        _ = change.created_at, change.record, repr(change)


@pytest.mark.parametrize("kind", ["ours", "ready-made", "double"])
def test_a_record_whose_parts_are_of_another_kind_is_an_error_that_names_the_shard(kind: str) -> None:
    def answered(record: Any) -> StreamClient:
        if kind == "double":
            return client_of({"Records": [record]})[0]
        boto = boto3.client("dynamodbstreams", region_name="eu-west-1") if kind == "ready-made" else None
        return client_over_http(200, json.dumps({"Records": [record]}), boto)

    looked_at(call_records(answered(RECORD)))
    told = []
    for odd in _with_an_odd_part(RECORD):
        try:
            looked_at(call_records(answered(odd)))
        except DecodeError as error:
            told.append(str(error))
    assert len(told) > 50
    assert all(f"shard {SHARD}" in text for text in told)


@given(
    st.datetimes(timezones=st.timezones()).map(lambda time: time.strftime("%a, %d %b %Y %H:%M:%S %z"))
    | st.text()
)
def test_no_date_whatever_is_an_error(date: str) -> None:
    answer = {"Records": [], "ResponseMetadata": {"HTTPHeaders": {"date": date}}}
    now = OUR_TIME
    client = StreamClient(Double(answer), ARN, lambda: now)
    client.get_records(SHARD, "iterator")
    now += timedelta(days=3650)

    assert client.time - timedelta(days=3650) == client.answered_at
    assert check_clock(Reached(date, OUR_TIME)).what == "clock"
