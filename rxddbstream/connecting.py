"""Finding a stream, and making the client to read it with.

Credentials, signing, endpoints and configuration are botocore's own. What differs from a client that
boto3 makes by default:

* One attempt a call. botocore's retries block the thread that called; ours wait on the scheduler.
* Short time-outs, and as many connections as there are workers.
* The regional endpoint, unless the configuration says otherwise: botocore 1.44 derives one for each
  account from a stream's ARN, which stand-ins for the service, and many a firewall, do not know.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import boto3
import botocore.config
import botocore.exceptions as botocore_errors
from botocore.client import BaseClient

from rxddbstream.client import StreamClient
from rxddbstream.errors import (
    ConfigurationError,
    MalformedAnswer,
    RequestFailed,
    StreamError,
    StreamNotEnabled,
    StreamNotFound,
    TableNotFound,
)
from rxddbstream.explain import explain
from rxddbstream.wire import accelerated

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 10.0

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
    connections: int = 16,
) -> StreamClient:
    """Find the stream of a table, or take a stream's ARN, and be ready to read it.

    Args:
        stream: a table's name or ARN, or a stream's ARN.
        now: the time, for answers that come without one.
        client: a boto3 `dynamodbstreams` client to use; the rest is for making one.
        connections: how many calls may be under way at once.

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


def open_session(region_name: str | None, profile_name: str | None) -> boto3.Session:
    """boto3's session.

    Raises:
        ConfigurationError: there is no such profile, or the configuration cannot be read.
    """
    try:
        return boto3.Session(region_name=region_name, profile_name=profile_name)
    except botocore_errors.BotoCoreError as error:
        raise _misconfigured(error) from error


def client_maker(
    stream: str,
    session: Any,
    region_name: str | None,
    profile_name: str | None,
    endpoint_url: str | None,
    connections: int,
    as_nobody: bool = False,
) -> Callable[[str], Any]:
    """What makes clients by the name of their service.

    Args:
        stream: whose region is the last resort, where it is an ARN.
        session: a `boto3.Session`; None makes one of `region_name` and `profile_name`.
        connections: how many calls of a client may be under way at once.
        as_nobody: makes clients whose credentials are made up: a service refuses them, and so answers.
    """
    from importlib.metadata import version  # late: it takes as long as a third of boto3

    session = session or open_session(region_name, profile_name)
    try:
        # The ARN's region is the last resort: stand-ins make up names for theirs.
        region = region_name or session.region_name or region_of(stream)
        config = botocore.config.Config(
            retries={"total_max_attempts": 1},
            max_pool_connections=connections,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            user_agent_extra=f"rxddbstream/{version('rxddbstream')}",
            account_id_endpoint_mode=_endpoint_mode(session),
        )
    except botocore_errors.BotoCoreError as error:
        raise _misconfigured(error) from error

    def make(service: str) -> Any:
        try:
            # Not unsigned: stand-ins learn from the signature which service is meant.
            names = ("aws_access_key_id", "aws_secret_access_key") if as_nobody else ()
            fast = service == "dynamodbstreams" and not as_nobody
            maker = accelerated(session._session) if fast else session._session
            return maker.create_client(
                service,
                region_name=region,
                endpoint_url=endpoint_url,
                config=config,
                **dict.fromkeys(names, "nobody"),
            )
        except (botocore_errors.BotoCoreError, ValueError) as error:
            raise _misconfigured(error) from error

    return make


def _misconfigured(error: Exception) -> StreamError:
    if isinstance(error, botocore_errors.NoRegionError):
        return ConfigurationError(
            "no region: pass region_name= (--region), set AWS_DEFAULT_REGION, or configure a profile"
        )
    reason = explain(error, "connecting", StreamNotFound)
    if not isinstance(reason, RequestFailed):
        return reason  # credentials that cannot be had, for one
    text = str(error).rstrip(".")
    if text.startswith("Invalid endpoint") and "://" not in text:
        return ConfigurationError(f"{text}: it must begin with http:// or https://")
    return ConfigurationError(f"{text}. Check the arguments, the AWS_* variables and ~/.aws/config")


def _endpoint_mode(session: Any) -> Literal["disabled"] | None:
    name = "account_id_endpoint_mode"
    configured = session._session.get_scoped_config().get(name)
    return None if configured or os.environ.get(f"AWS_{name.upper()}") else "disabled"


def region_of(arn: str) -> str | None:
    """The region that an ARN names, None of anything else.

    >>> region_of("arn:aws:dynamodb:eu-west-1:123456789012:table/orders")
    'eu-west-1'
    """
    parts = arn.split(":")
    return parts[3] or None if len(parts) > 5 and parts[0] == "arn" else None


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


def unknown_region(message: str) -> str | None:
    """A sentence about the region of the endpoint that a message names, if boto3 has never heard of it."""
    found = re.search(r"//(?:streams\.)?dynamodb\.([\w-]+)\.amazonaws\.", message)
    if found is None:
        return None
    session, region = boto3.Session(), found[1]
    known = [
        name
        for partition in session.get_available_partitions()
        for name in session.get_available_regions("dynamodbstreams", partition)
    ]
    if region in known:
        return None
    similar = difflib.get_close_matches(region, known, n=1)
    return f"boto3 knows no region {region!r}" + (f"; did you mean {similar[0]}?" if similar else ".")
