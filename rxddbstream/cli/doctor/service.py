"""Whether the service can be reached, what time it has there, and which stream the table has."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import botocore.exceptions as botocore_errors

from rxddbstream.aws.answers import date_of
from rxddbstream.aws.connect import described, how_to_enable_one, is_being_deleted
from rxddbstream.aws.places import is_another, is_aws, without_password
from rxddbstream.aws.session import unknown_region
from rxddbstream.aws.unreached import no_answer
from rxddbstream.cli.doctor.calls import Calls
from rxddbstream.cli.doctor.finding import Finding, Place, on_one_line, resource_of_table
from rxddbstream.errors import RequestFailed, StreamError, TableNotFound
from rxddbstream.model.position import CLOCKS_DIFFER

CLOCK_IS_OFF = timedelta(seconds=5)

_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL")
_ERRORS_SHOWN = 200  # characters of an answer that is none


class Reached(NamedTuple):
    """An answer of the service.

    Attributes:
        date: its Date header.
        at: the time here, halfway between question and answer.
    """

    date: str | None
    at: datetime


def check_endpoint(
    client: Any, urls: list[str], place: Place, now: Callable[[], datetime]
) -> tuple[Finding, Reached | None]:
    """Whether a DynamoDB answers there, and how fast.

    Args:
        client: for `dynamodbstreams`, with credentials that are made up: a refusal is an answer as well.
        urls: the endpoints that are used, the streams' first.
    """
    reached, trips = None, []
    for _ in range(2):  # the first one has to connect
        began = now()
        try:
            answer = client.list_streams(Limit=1)
            if "Streams" not in answer:  # botocore makes an empty answer of a page of HTML
                return _is_another(urls[0], "without a list of streams"), None
        except botocore_errors.ClientError as error:
            answer = error.response
            if not _is_from_dynamodb(error):
                return _is_another(urls[0], on_one_line(error)[:_ERRORS_SHOWN]), None
        except Exception as error:  # noqa: BLE001 - whatever it is, there was no answer
            return _unreached(error, urls[0]), None
        ended = now()
        trips.append(ended - began)
        reached = Reached(_headers_of(answer).get("date"), began + (ended - began) / 2)
    text = f"{urls[0]}{_source(urls[0], place)} answers in {min(trips) / timedelta(milliseconds=1):.0f} ms"
    if len({is_aws(url) for url in urls}) > 1:
        advice = (
            "Set AWS_ENDPOINT_URL, which is for both, or both of AWS_ENDPOINT_URL_DYNAMODB and "
            "AWS_ENDPOINT_URL_DYNAMODB_STREAMS"
        )
        text += f"; but tables are looked up at {urls[1]}, which is another service"
        return Finding("warn", "endpoint", text, advice), reached
    return Finding("ok", "endpoint", text), reached


def check_clock(reached: Reached) -> Finding:
    """How far this machine's clock is off."""
    there = date_of(reached.date)
    if there is None:
        return Finding("skip", "clock", "the answer has no time in it")
    # The header has whole seconds, rounded down.
    ahead = reached.at - (there + timedelta(seconds=0.5))
    off = abs(ahead)
    if off <= CLOCK_IS_OFF:
        return Finding("ok", "clock", f"less than {CLOCK_IS_OFF.seconds} s off the service's")
    text = f"{_length(off)} {'ahead of' if ahead > timedelta() else 'behind'} the service's"
    advice = "Set this machine's clock by the network's time, on Linux with: timedatectl set-ntp true"
    text += "; AWS refuses calls that are more than 5 min off"
    return Finding("warn" if off <= CLOCKS_DIFFER else "fail", "clock", text, advice)


def check_table(
    dynamodb: Any, stream: str, table: str, calls: Calls
) -> tuple[Finding, dict[str, Any] | None]:
    """Whether the table can be looked up, and has a stream; its description, when it has.

    Args:
        stream: the table's name or its ARN, which goes to the service as it is.
        table: its name.
    """
    place = calls.place

    def ask(name: str) -> Any:
        return calls.ask(dynamodb, "describe_table", TableNotFound, TableName=name)

    try:
        description = described(ask, stream, table, dynamodb.meta.endpoint_url).get("Table")
        if not description:
            raise RequestFailed("DescribeTable answers without a description")
    except TableNotFound:
        advice = f"Check the name, the region and the account: aws dynamodb list-tables{place.options}"
        where = f"in region {place.region} at {without_password(dynamodb.meta.endpoint_url)}"
        return Finding("fail", "table", f"there is no table {table!r} {where}", advice), None
    except StreamError as error:
        resource = stream if stream != table else resource_of_table(table, place, on_one_line(error))
        finding = calls.failed("table", error, "DescribeTable", resource)
        if "is denied" in finding.text:
            instead = "Or give the stream's ARN in place of the table's name, which needs no such call"
            finding = finding._replace(advice=f"{finding.advice}\n{instead}")
        return finding, None
    return _check_description(description, stream, table, place)


def _check_description(
    description: dict[str, Any], stream: str, table: str, place: Place
) -> tuple[Finding, dict[str, Any] | None]:
    arn = description.get("LatestStreamArn")
    if arn and is_another(stream, arn):
        text = f"there is no {stream}: the table of that name here is another one's, and has {arn}"
        return Finding("fail", "table", text, "Check the ARN's region and account, and the profile"), None
    specification = description.get("StreamSpecification") or {}
    if arn and specification.get("StreamEnabled"):
        text = f"{table} is {description.get('TableStatus', 'there')}, its stream is enabled"
        return Finding("ok", "table", text), description
    last = f"What the last one had can be read for 24 hours from its end, by its ARN: {arn}" if arn else ""
    if is_being_deleted(description):
        advice = last or "Nothing more can be read of it; check whether another table took its place"
        return Finding("fail", "table", f"{table} is being deleted, and its stream with it", advice), None
    advice = "\n".join(filter(None, [how_to_enable_one(table, place.options), last]))
    return Finding("fail", "table", f"table {table!r} has no stream that is enabled", advice), None


def _headers_of(answer: Any) -> dict[str, str]:
    headers: dict[str, str] = (answer.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
    return headers


def _is_from_dynamodb(error: botocore_errors.ClientError) -> bool:
    # botocore puts the status in place of a code that it cannot find in the answer.
    code = str(error.response.get("Error", {}).get("Code", ""))
    return bool(code) and not code.isdigit()


def _is_another(url: str, how: str) -> Finding:
    advice = "Check --endpoint-url, AWS_ENDPOINT_URL and whether a proxy answers in its place"
    return Finding("fail", "endpoint", f"{url} answers, but not as DynamoDB: {how}", advice)


def _unreached(error: Exception, url: str) -> Finding:
    why = no_answer(error)
    text = f"{url} cannot be reached: {on_one_line(error)}{why.reason}"
    advice = why.advice
    if not advice:
        unknown = unknown_region(url)
        check = "Check --region, --endpoint-url, AWS_ENDPOINT_URL, the network and a proxy"
        advice = f"{unknown} {check}" if unknown else check
    return Finding("fail", "endpoint", text, advice)


def _source(url: str, place: Place) -> str:
    if place.endpoint_url:
        return ", from --endpoint-url,"
    for name in _ENDPOINT_VARIABLES:
        if os.environ.get(name, "").rstrip("/") == url.rstrip("/"):
            return f", from {name},"
    return "" if is_aws(url) else ", from the profile,"


def _length(time: timedelta) -> str:
    seconds = time.total_seconds()
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
