"""All checks, in the order in which one would look."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from rxddbstream.aws.connect import table_to_look_up
from rxddbstream.aws.session import client_maker, open_session
from rxddbstream.cli.doctor.calls import Calls
from rxddbstream.cli.doctor.finding import Finding, Place, skipped
from rxddbstream.cli.doctor.service import check_clock, check_endpoint, check_table
from rxddbstream.cli.doctor.settings import check_credentials, check_region
from rxddbstream.cli.doctor.shard import ShardToTry
from rxddbstream.cli.doctor.stream import (
    Described,
    check_shard_filter,
    check_shards,
    check_stream,
    check_view_type,
)
from rxddbstream.errors import ConfigurationError, StreamError
from rxddbstream.protocol.pacing import Poll

CHECKS = (
    "region",
    "credentials",
    "endpoint",
    "clock",
    "table",
    "stream",
    "view type",
    "shards",
    "iterator",
    "records",
    "at timestamp",
    "shard filter",
)
"""The names of all checks, in their order."""

LIST_PROFILES = "See what there is: aws configure list-profiles; it is read from ~/.aws/config"


def diagnose(
    stream: str,
    *,
    session: Any = None,
    region_name: str | None = None,
    profile_name: str | None = None,
    endpoint_url: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], object] = time.sleep,
    make: Callable[[str], Any] | None = None,
) -> Iterator[Finding]:
    """Make the checks, one by one as the findings are asked for.

    Args:
        stream: a table's name or ARN, or a stream's ARN.
        session, region_name, profile_name, endpoint_url: as for `rxddbstream.changes`.
        now: the time here.
        sleep: waits so many seconds, before a call is made again.
        make: makes a boto3 client, or a double of one, by the name of its service; by default as the
            library does.

    Raises:
        ConfigurationError: `stream` is another thing's ARN.

    >>> for finding in diagnose("orders", region_name="eu-west-1", endpoint_url="http://127.0.0.1:1"):
    ...     if finding.what in ("region", "endpoint"):
    ...         print(finding.state, finding.what)
    ok region
    fail endpoint
    """
    table = table_to_look_up(stream)
    place = Place(region_name, profile_name, endpoint_url)
    return _diagnose(stream, table, place, session, now, sleep, make)


def _diagnose(
    stream: str,
    table: str | None,
    place: Place,
    session: Any,
    now: Callable[[], datetime],
    sleep: Callable[[float], object],
    make: Callable[[str], Any] | None,
) -> Iterator[Finding]:
    checks = tuple(name for name in CHECKS if table is not None or name != "table")
    try:
        session = session or open_session(place.region, place.profile)
    except ConfigurationError as error:
        yield Finding("fail", "settings", str(error), LIST_PROFILES)
        yield from skipped(checks, "the settings cannot be used")
        return
    region, region_name = check_region(stream, session, place.region, place.profile)
    yield region
    place = place._replace(region=region_name)
    credentials = check_credentials(session, place, now())
    yield credentials
    if region_name is None:
        yield from skipped(checks[2:], "there is no region, or more than one")
        return

    def maker(as_nobody: bool = False) -> Callable[[str], Any]:
        return make or client_maker(stream, session, region_name, None, place.endpoint_url, 1, as_nobody)

    is_reached = yield from _check_service(maker, checks[2:], place, now)
    if not is_reached:
        return
    if credentials.state == "fail":
        yield from skipped(checks[4:], "there are no credentials")
        return
    calls = Calls(sleep, place)
    arn = stream if table is None else (yield from _check_table(maker()("dynamodb"), stream, table, calls))
    if arn is None:
        yield from skipped(checks[5:], "the table's stream is not known")
    else:
        yield from _check_stream(maker()("dynamodbstreams"), arn, calls, sleep, now)


def _check_service(
    maker: Callable[[bool], Callable[[str], Any]],
    checks: Sequence[str],
    place: Place,
    now: Callable[[], datetime],
) -> Generator[Finding, None, bool]:
    """The endpoint and its clock; whether there is an answer."""
    try:
        make = maker(True)  # as nobody
        probe = make("dynamodbstreams")
        tables = make("dynamodb") if "table" in checks else None
    except StreamError as error:
        yield Finding("fail", "endpoint", str(error), "Check --endpoint-url and AWS_ENDPOINT_URL")
        yield from skipped(checks[1:], "there is no endpoint")
        return False
    urls = [client.meta.endpoint_url for client in (probe, tables) if client is not None]
    endpoint, reached = check_endpoint(probe, urls, place, now)
    yield endpoint
    if reached is None:
        yield from skipped(checks[1:], "the endpoint cannot be reached")
        return False
    yield check_clock(reached)
    return True


def _check_table(client: Any, stream: str, table: str, calls: Calls) -> Generator[Finding, None, str | None]:
    """The table; its stream's ARN, None where it is not known."""
    finding, description = check_table(client, stream, table, calls)
    yield finding
    return None if description is None else description["LatestStreamArn"]


def _check_stream(
    client: Any, arn: str, calls: Calls, sleep: Callable[[float], object], now: Callable[[], datetime]
) -> Iterator[Finding]:
    finding, stream = check_stream(client, arn, calls, sleep)
    yield finding
    if stream is None:
        yield from skipped(CHECKS[6:], "the stream could not be described")
        return
    yield check_view_type(stream, calls.place)
    yield check_shards(stream, Poll())
    yield from _check_reading(client, arn, stream, calls, now)
    yield check_shard_filter(client, arn, stream.shards, calls)


def _check_reading(
    client: Any, arn: str, stream: Described, calls: Calls, now: Callable[[], datetime]
) -> Iterator[Finding]:
    names = ("iterator", "records", "at timestamp")
    candidates = stream.open_shards or stream.shards
    if not candidates:
        yield from skipped(names, "there is no shard to try")
        return
    shard = ShardToTry(client, arn, candidates[-1].id, calls)
    iterators = shard.check_iterators()
    yield iterators
    if iterators.state == "fail":
        yield from skipped(names[1:], "no iterator was had")
        return
    records = shard.check_records()
    yield records
    if records.state == "fail":
        yield from skipped(names[2:], "no records could be read")
        return
    yield shard.check_at_timestamp(now())
