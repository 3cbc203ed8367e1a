"""Finding a stream, by its ARN or by its table."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from botocore.client import BaseClient

from rxddbstream.aws.answers import DescribeTable, ListStreams, check
from rxddbstream.aws.client import StreamClient
from rxddbstream.aws.errors import explain
from rxddbstream.aws.places import account_of, check_endpoint_of, is_another, is_aws, without_password
from rxddbstream.aws.session import client_maker
from rxddbstream.errors import (
    ConfigurationError,
    RequestFailed,
    StreamNotEnabled,
    TableNotFound,
)
from rxddbstream.scheduling.pool import WORKERS

log = logging.getLogger("rxddbstream")
log.addHandler(logging.NullHandler())


def connect(
    stream: str,
    *,
    now: Callable[[], datetime],
    client: Any = None,
    session: Any = None,
    region_name: str | None = None,
    profile_name: str | None = None,
    endpoint_url: str | None = None,
) -> StreamClient:
    """Find the stream of a table, or take a stream's ARN, and be ready to read it.

    Args:
        stream: a table's name or ARN, or a stream's ARN. An ARN's region is the one that is asked in.
        now: the time, for answers that come without one.
        client: a boto3 `dynamodbstreams` client to use; the rest is for making one.

    Raises:
        TableNotFound, StreamNotEnabled: as they say.
        ConfigurationError: no region or another one than the ARN's, no such profile, another thing's
            ARN, ...
        StreamError: what else can go wrong with a call.
    """
    table = table_to_look_up(stream)
    if client is not None:
        if isinstance(client, BaseClient):
            log.info(
                "client= decodes with botocore's own parser, which is slow; with session= in its place, "
                "GetRecords answers are decoded by rxddbstream"
            )
        meta = getattr(client, "meta", None)
        check_endpoint_of(stream, getattr(meta, "endpoint_url", None), getattr(meta, "region_name", None))
        arn = stream if table is None else _newest_stream(client, stream, table)
        return StreamClient(client, arn, now, by_table=table is not None)
    connections = WORKERS + 1  # of the workers, and of discovery
    make = client_maker(stream, session, region_name, profile_name, endpoint_url, connections)
    arn = stream if table is None else _latest_stream(make("dynamodb"), stream, table)
    boto = make("dynamodbstreams")
    log.info("stream %s at %s", arn, boto.meta.endpoint_url)
    return StreamClient(boto, arn, now, by_table=table is not None)


def table_to_look_up(stream: str) -> str | None:
    """The table that is named, by its name or its ARN; None of a stream's ARN, which needs no looking up.

    Raises:
        ConfigurationError: it is another thing's ARN.

    >>> table_to_look_up("arn:aws:dynamodb:eu-west-1:123456789012:table/orders")
    'orders'
    """
    if "/stream/" in stream:
        return None
    table = stream.rpartition(":table/")[2]
    if stream.startswith("arn:") and table == stream:
        raise ConfigurationError(
            f"{stream!r} looks like an ARN, but is not a stream's or a table's; a table's has ':table/' in it"
        )
    return table


def _latest_stream(dynamodb: Any, stream: str, table: str) -> str:
    doing = f"looking up table {table!r}"

    def ask(name: str) -> Any:
        try:
            answer = dynamodb.describe_table(TableName=name)
        except Exception as error:
            no_table = _no_table(stream, table, dynamodb)
            raise explain(error, doing, no_table) from error
        check(answer, DescribeTable, doing)
        return answer

    try:
        description = described(ask, stream, table, dynamodb.meta.endpoint_url)["Table"]
    finally:
        dynamodb.close()
    arn: str | None = description.get("LatestStreamArn")
    enabled = (description.get("StreamSpecification") or {}).get("StreamEnabled")
    if not arn or not enabled:
        if is_being_deleted(description):
            raise TableNotFound(f"table {table!r} is being deleted, and its stream is not listed any more")
        last = f" What is left of its last one can be read for 24 hours by its ARN, {arn}." if arn else ""
        raise StreamNotEnabled(
            f"table {table!r} has no stream.{last} {how_to_enable_one(table, _options_of(dynamodb))}"
        )
    return _of_this_table(stream, arn)


def described(ask: Callable[[str], Any], stream: str, table: str, url: str) -> Any:
    """The answer of DescribeTable, which takes a table's ARN as its name.

    Args:
        ask: makes the call.
        stream: what was looked for: a table's name or its ARN.
        table: the table's name.
        url: where it is asked; stand-ins such as DynamoDB Local may know a table by its name alone.
    """
    try:
        return ask(stream)
    except RequestFailed:
        if stream == table or is_aws(url):
            raise
        return ask(table)


def is_being_deleted(description: Any) -> bool:
    """Whether a table is being deleted."""
    return bool(description.get("TableStatus") == "DELETING")


def _newest_stream(client: Any, stream: str, table: str) -> str:
    """The table's stream by ListStreams, the one way that a `dynamodbstreams` client has.

    It takes a name alone: the client's region is the ARN's, and the answer tells the account.
    """
    doing = f"looking up table {table!r}"
    try:
        answer = client.list_streams(TableName=table)
    except Exception as error:
        raise explain(error, doing, _no_table(stream, table, client)) from error
    check(answer, ListStreams, doing)
    streams = answer["Streams"]
    if not streams:
        advice = how_to_enable_one(table, _options_of(client))
        raise StreamNotEnabled(
            f"there is no table {table!r}{_where(client)}, or it has no stream. ListStreams does not tell "
            "which, and client= can ask nothing else: check the name, the region, the account and "
            f"whether the table was deleted. Where it is there: {advice[0].lower()}{advice[1:]}"
        )
    newest = max(streams, key=lambda stream: str(stream.get("StreamLabel", "")))
    arn: str = newest["StreamArn"]
    return _of_this_table(stream, arn)


def _of_this_table(stream: str, answered: str) -> str:
    """The stream's ARN that was answered, refused where it is of another region or account."""
    if is_another(stream, answered):
        raise TableNotFound(
            f"there is no {stream} for these credentials: the table of that name is another one's, and has "
            f"{answered}; check the ARN's region and account, and the profile"
        )
    return answered


def how_to_enable_one(table: str, options: str = "") -> str:
    """A sentence with the command that enables a stream on a table.

    Args:
        options: where the table is, such as ` --region eu-central-1`.
    """
    return (
        f"To enable one: aws dynamodb update-table --table-name {table} "
        f"--stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES{options}"
    )


def _options_of(client: Any) -> str:
    """The AWS command line's options for where a client asks; the command must not go elsewhere."""
    meta = getattr(client, "meta", None)
    if meta is None:
        return ""
    region = f" --region {meta.region_name}"
    url = without_password(meta.endpoint_url)
    return region if is_aws(url) else f"{region} --endpoint-url {url}"


def _no_table(stream: str, table: str, client: Any) -> Callable[[str], TableNotFound]:
    where = _where(client)
    account = account_of(stream)

    def table_not_found(message: str) -> TableNotFound:
        return TableNotFound(
            f"there is no table {table!r}{where}, or no longer; check its name, the region and the account"
            f"{f' {account}' if account else ''}"
        )

    return table_not_found


def _where(client: Any) -> str:
    """Where a client asks, in words."""
    meta = getattr(client, "meta", None)
    return f" in region {meta.region_name} at {without_password(meta.endpoint_url)}" if meta else ""
