"""Finding a stream, by its ARN or by its table."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from botocore.client import BaseClient

from rxddbstream.aws.client import StreamClient
from rxddbstream.aws.errors import explain
from rxddbstream.aws.session import client_maker
from rxddbstream.errors import ConfigurationError, MalformedAnswer, StreamNotEnabled, TableNotFound
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
        stream: a table's name or ARN, or a stream's ARN.
        now: the time, for answers that come without one.
        client: a boto3 `dynamodbstreams` client to use; the rest is for making one.

    Raises:
        TableNotFound, StreamNotEnabled: as they say.
        ConfigurationError: no region, no such profile, another thing's ARN, ...
        StreamError: what else can go wrong with a call.
    """
    table = table_to_look_up(stream)
    if client is not None:
        if isinstance(client, BaseClient):
            log.info(
                "client= decodes with botocore's own parser, which is slow; with session= in its place, "
                "GetRecords answers are decoded by rxddbstream"
            )
        return StreamClient(client, stream if table is None else _newest_stream(client, table), now)
    connections = WORKERS + 1  # of the workers, and of discovery
    make = client_maker(stream, session, region_name, profile_name, endpoint_url, connections)
    arn = stream if table is None else _latest_stream(make("dynamodb"), table)
    boto = make("dynamodbstreams")
    log.info("stream %s at %s", arn, boto.meta.endpoint_url)
    return StreamClient(boto, arn, now)


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


def _latest_stream(dynamodb: Any, table: str) -> str:
    try:
        description = dynamodb.describe_table(TableName=table).get("Table")
    except Exception as error:
        raise explain(error, f"looking up table {table!r}", _no_table(table, dynamodb)) from error
    finally:
        dynamodb.close()
    if not description:
        raise MalformedAnswer(f"DescribeTable answered without a description of table {table!r}")
    arn: str | None = description.get("LatestStreamArn")
    enabled = (description.get("StreamSpecification") or {}).get("StreamEnabled")
    if not arn or not enabled:
        raise StreamNotEnabled(
            f"table {table!r} has no stream. {how_to_enable_one(table, _options_of(dynamodb))}"
        )
    return arn


def _newest_stream(client: Any, table: str) -> str:
    """The table's stream by ListStreams, the one way that a `dynamodbstreams` client has."""
    try:
        streams = client.list_streams(TableName=table).get("Streams")
    except Exception as error:
        raise explain(error, f"looking up table {table!r}", _no_table(table, client)) from error
    if streams is None:
        raise MalformedAnswer(f"ListStreams answered without a list of the streams of table {table!r}")
    if not streams:
        advice = how_to_enable_one(table, _options_of(client))
        raise StreamNotEnabled(f"there is no table {table!r}, or it has no stream. {advice}")
    newest = max(streams, key=lambda stream: str(stream.get("StreamLabel", "")))
    arn: str = newest["StreamArn"]
    return arn


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
    is_aws = ".amazonaws." in meta.endpoint_url
    return region if is_aws else f"{region} --endpoint-url {meta.endpoint_url}"


def _no_table(table: str, client: Any) -> Callable[[str], TableNotFound]:
    meta = getattr(client, "meta", None)
    where = f" in region {meta.region_name} at {meta.endpoint_url}" if meta else ""

    def table_not_found(message: str) -> TableNotFound:
        return TableNotFound(
            f"there is no table {table!r}{where}; check its name, the region and the account"
        )

    return table_not_found
