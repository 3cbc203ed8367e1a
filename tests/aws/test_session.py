"""Clients made of a session: their region, their settings, and what a URL shows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import boto3
import botocore.exceptions as botocore_errors
import pytest
from support.aws import (
    ARN,
    SHARD,
    TABLE_ARN,
    Double,
    client_over_http,
    our_time,
    region_of,
)

from rxddbstream.aws.connect import connect
from rxddbstream.aws.session import client_maker
from rxddbstream.errors import (
    ConfigurationError,
    ConnectionLost,
    StreamNotFound,
)
from rxddbstream.scheduling.pool import WORKERS


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
