"""`rxddbstream doctor`: each thing that can stand in the way is named, with what to do about it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.exceptions as botocore_errors
import pytest
from botocore.credentials import RefreshableCredentials
from support.checkout import DOCS
from support.commandline import Terminal
from support.dynamodb_local import DynamoDBLocal
from support.waiting import PATIENCE

from rxddbstream.cli.doctor.checks import CHECKS, diagnose
from rxddbstream.cli.doctor.command import lines_of
from rxddbstream.cli.doctor.finding import Finding, Place
from rxddbstream.cli.doctor.settings import check_credentials
from rxddbstream.cli.main import main
from rxddbstream.errors import ConfigurationError
from rxddbstream.protocol.pacing import Poll, calls_per_second
from rxddbstream.testing import SimulatedStream
from rxddbstream.views.price import price

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
STREAMS = "https://streams.dynamodb.us-east-1.amazonaws.com"
TABLES = "https://dynamodb.us-east-1.amazonaws.com"

Refusal = Exception | dict[str, Any] | None


def refused(code: str, message: str = "the reason", status: int = 400) -> botocore_errors.ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}},
    }
    return botocore_errors.ClientError(answer, "Operation")


def denied(action: str, resource: str, why: str = "no identity-based policy allows it") -> Exception:
    who = "User: arn:aws:iam::123456789012:user/ada is not authorized to perform"
    return refused("AccessDeniedException", f"{who}: dynamodb:{action} on resource: {resource} because {why}")


@dataclass
class Service:
    """A double of AWS: what it answers to each call can be put in place of the simulation's answer.

    Attributes:
        refusals: by operation, what it raises or answers instead.
        ahead: how far its clock is ahead.
        calls: what was asked, in order.
    """

    sim: SimulatedStream = field(default_factory=lambda: SimulatedStream("orders", shards=2))
    refusals: dict[str, Refusal] = field(default_factory=dict)
    ahead: timedelta = timedelta()
    table: dict[str, Any] = field(default_factory=dict)
    status: str = "ENABLED"
    dated: bool = True
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=lambda: {"dynamodb": TABLES, "dynamodbstreams": STREAMS})

    def make(self, name: str) -> Any:
        answer = self.answer

        class Client:
            meta = SimpleNamespace(endpoint_url=self.urls[name], region_name="us-east-1")

            def __getattr__(self, operation: str) -> Callable[..., Any]:
                return lambda **arguments: answer(operation, arguments)

        return Client()

    def answer(self, operation: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((operation, arguments))
        kind = arguments.get("ShardIteratorType")
        for name in (
            f"{operation} {kind}",
            operation + " filtered" * ("ShardFilter" in arguments),
            operation,
        ):
            refusal = self.refusals.get(name)
            if isinstance(refusal, Exception):
                raise refusal
            if refusal is not None:
                return refusal
        if operation == "describe_table":
            stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
            return {
                "Table": {
                    "TableStatus": "ACTIVE",
                    "LatestStreamArn": self.sim.arn,
                    "StreamSpecification": stream,
                    **self.table,
                }
            }
        answer = getattr(self.sim.client, operation)(**arguments)
        if operation == "describe_stream":
            answer["StreamDescription"]["StreamStatus"] = self.status
        if operation == "list_streams":
            date = {"date": format_datetime(NOW + self.ahead, usegmt=True)} if self.dated else {}
            answer["ResponseMetadata"]["HTTPHeaders"] = date
        return answer

    def findings(self, stream: str = "orders", **options: Any) -> dict[str, Finding]:
        found = list(
            diagnose(
                stream,
                session=boto3.Session("AKIASECRET7WXYZ", "secret", region_name="us-east-1"),
                now=lambda: NOW,
                sleep=lambda _: None,
                make=self.make,
                **options,
            )
        )
        for finding in found:
            assert bool(finding.advice) is (finding.state in ("warn", "fail")), finding
            assert "\n" not in finding.text
        return {finding.what: finding for finding in found}


def states(findings: dict[str, Finding]) -> dict[str, str]:
    return {what: finding.state for what, finding in findings.items() if finding.state != "ok"}


def after(name: str) -> dict[str, str]:
    return dict.fromkeys(CHECKS[CHECKS.index(name) + 1 :], "skip")


# Where all is well


def test_all_is_well_at_a_stream_with_children_and_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    service = Service()
    service.sim.put("o-1", status="new")
    service.sim.split(service.sim.shards[0].id)
    findings = service.findings()

    assert tuple(findings) == CHECKS
    assert states(findings) == {}
    assert findings["region"].text == "us-east-1, from the session"
    assert findings["endpoint"].text == f"{STREAMS} answers in 0 ms"
    assert findings["shards"].text.startswith("3 open, 1 closed; ")
    assert "TRIM_HORIZON and LATEST" in findings["iterator"].text
    assert "o-1" not in str(findings)


def test_credentials_show_where_they_are_from_and_four_characters() -> None:
    text = Service().findings()["credentials"].text

    assert text == "from explicit (access key ...WXYZ)"


def test_it_makes_the_librarys_calls_and_reads_one_record() -> None:
    service = Service()
    service.findings()

    operations = [operation for operation, _ in service.calls]
    assert {*operations} == {
        "list_streams",
        "describe_table",
        "describe_stream",
        "get_shard_iterator",
        "get_records",
    }
    assert all(arguments["Limit"] == 1 for name, arguments in service.calls if name == "get_records")


def test_a_streams_arn_needs_no_looking_up() -> None:
    service = Service(refusals={"describe_table": denied("DescribeTable", "arn")})
    findings = service.findings(service.sim.arn)

    assert "table" not in findings
    assert [name for name, _ in service.calls if name == "describe_table"] == []
    assert states(findings) == {"shard filter": "skip"}


def test_all_pages_of_the_listing_are_read() -> None:
    service = Service(SimulatedStream("orders", shards=25, listing_page_size=10))

    assert service.findings()["shards"].text.startswith("25 open, 0 closed; ")


def test_what_polling_costs_is_what_the_page_says() -> None:
    # One source of the figures: the table of docs/performance.md is made of the same ones.
    page = (DOCS / "performance.md").read_text()
    rows = re.findall(r"^\| `Poll\((.*?)\)`.*?\|([^|]+)\|([^|]+)\|([^|]+)\|([^|]+)\|$", page, re.MULTILINE)
    month = 30 * 24 * 3600
    assert len(rows) == 4
    for options, *columns in rows:
        rates = calls_per_second(Poll(**{k: float(v) for k, v in re.findall(r"(\w+)=([\d.]+)", options)}), 1)
        expected = [text for rate in rates for text in (f"{rate * month:,.0f}", f"{price(rate * month):.2f}")]
        assert [column.strip() for column in columns] == expected
    text = Service(SimulatedStream("orders", shards=100)).findings()["shards"].text
    assert "20 calls a second (about $0.35 a day) while idle" in text
    assert "800 calls a second (about $13.82 a day) at most" in text


# Permissions

STREAM_RESOURCE = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/*"


@pytest.mark.parametrize(
    ("operation", "action", "check", "resource"),
    [
        ("describe_table", "DescribeTable", "table", "arn:aws:dynamodb:us-east-1:123456789012:table/orders"),
        ("describe_stream", "DescribeStream", "stream", STREAM_RESOURCE),
        ("get_shard_iterator", "GetShardIterator", "iterator", STREAM_RESOURCE),
        ("get_records", "GetRecords", "records", STREAM_RESOURCE),
    ],
)
def test_a_denied_call_names_the_action_and_the_resource(
    operation: str, action: str, check: str, resource: str
) -> None:
    service = Service(refusals={operation: denied(action, resource)})
    finding = service.findings()[check]

    assert finding.state == "fail"
    assert finding.text.startswith(f"{action} is denied: AccessDeniedException: User: ")
    statement = json.loads(re.search(r"\{.*?\}", finding.advice)[0])  # type: ignore[index]
    assert statement == {"Effect": "Allow", "Action": f"dynamodb:{action}", "Resource": resource}


def test_what_comes_after_a_denied_call_is_skipped_with_the_reason() -> None:
    findings = Service(refusals={"describe_stream": denied("DescribeStream", "arn")}).findings()

    assert states(findings) == {"stream": "fail", **after("stream")}
    assert findings["records"].text == "the stream could not be described"


def test_a_denied_look_up_says_that_the_streams_arn_would_do() -> None:
    findings = Service(refusals={"describe_table": refused("AccessDeniedException", "no.")}).findings()

    assert "arn:aws:dynamodb:us-east-1:ACCOUNT:table/orders" in findings["table"].advice
    assert "give the stream's ARN" in findings["table"].advice


def test_an_explicit_deny_is_not_mended_by_a_grant() -> None:
    why = "with an explicit deny in a service control policy"
    findings = Service(refusals={"get_records": denied("GetRecords", STREAM_RESOURCE, why)}).findings()

    assert "Effect" not in findings["records"].advice
    assert "taken out of the deny" in findings["records"].advice


@pytest.mark.parametrize("kind", ["VPC endpoint", "session", "service control"])
def test_another_kind_of_policy_is_named(kind: str) -> None:
    why = f"no {kind} policy allows the dynamodb:GetRecords action"
    findings = Service(refusals={"get_records": denied("GetRecords", STREAM_RESOURCE, why)}).findings()

    assert f"in the {kind} policy" in findings["records"].advice


# Credentials


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        ("ExpiredTokenException", "The security token is expired", "aws sso login"),
        ("UnrecognizedClientException", "The security token is invalid", "aws sts get-caller-identity"),
        ("InvalidSignatureException", "Signature expired: 1 is now earlier than 2", "clock"),
        ("InvalidSignatureException", "The request signature does not match", "Check the secret key"),
    ],
)
def test_credentials_that_are_refused(code: str, message: str, words: str) -> None:
    findings = Service(refusals={"describe_table": refused(code, message)}).findings()

    assert findings["table"].text == f"the credentials are refused: {code}: {message}"
    assert words in findings["table"].advice
    assert states(findings) == {"table": "fail", **after("table")}


class Session:
    """A double of boto3's, with these credentials."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def get_credentials(self) -> Any:
        if isinstance(self._credentials, Exception):
            raise self._credentials
        return self._credentials


def credentials(found: Any, profile: str | None = None) -> Finding:
    return check_credentials(Session(found), Place(profile=profile), NOW)


def refreshable(left: timedelta, method: str) -> RefreshableCredentials:
    expiry = datetime.now(UTC) + left

    def again() -> dict[str, str]:
        return {
            "access_key": "ASIA1234",
            "secret_key": "b",
            "token": "c",
            "expiry_time": expiry.isoformat(),
        }

    return RefreshableCredentials("ASIA1234", "b", "c", expiry, again, method)


def test_credentials_that_expire_say_when() -> None:
    now = datetime.now(UTC)
    for left, method, state, words in (
        (timedelta(hours=1, minutes=0.5), "assume-role", "ok", "expire in 60 min, and are renewed by boto3"),
        (timedelta(hours=1, minutes=0.5), "env", "ok", "expire in 60 min, and are not renewed"),
        (timedelta(minutes=5.5), "env", "warn", "expire in 5 min, and are not renewed"),
    ):
        finding = check_credentials(Session(refreshable(left, method)), Place(), now)
        assert (finding.state, finding.text.endswith(words)) == (state, True), finding


def test_credentials_that_have_expired_and_are_not_renewed() -> None:
    finding = credentials(refreshable(timedelta(hours=-1), "env"))

    assert finding.state == "fail"
    assert "still expired" in finding.text
    assert finding.advice


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (botocore_errors.PartialCredentialsError(provider="env", cred_var="X"), "Complete them"),
        (botocore_errors.UnauthorizedSSOTokenError(), "aws sso login --profile dev"),
        (botocore_errors.LoginRefreshRequired(), "aws login --profile dev"),
        (botocore_errors.CredentialRetrievalError(provider="p", error_msg="e"), "credential_process"),
        (refused("AccessDenied", "may not assume the role"), "aws sts get-caller-identity --profile dev"),
    ],
)
def test_credentials_that_cannot_be_had(error: Exception, words: str) -> None:
    finding = credentials(error, "dev")

    assert finding.state == "fail"
    assert words in finding.advice


def test_a_temporary_key_without_its_token() -> None:
    found = boto3.Session("ASIAXXXXXXXX1234", "s", region_name="us-east-1").get_credentials()

    assert credentials(found).state == "warn"
    assert "AWS_SESSION_TOKEN" in credentials(found).advice


def test_a_token_that_nobody_renews() -> None:
    found = boto3.Session("ASIAXXXXXXXX1234", "s", "token", region_name="us-east-1").get_credentials()

    assert credentials(found).state == "ok"
    assert "boto3 does not renew them" in credentials(found).text
    assert "token" not in credentials(found).text.replace("temporary", "")


# The endpoint and the clock


@pytest.mark.parametrize(
    ("ahead", "state", "words"),
    [
        (timedelta(seconds=2), "ok", "less than 5 s off"),
        (timedelta(seconds=-3), "ok", "less than 5 s off"),
        (timedelta(seconds=30), "warn", "30 s behind the service's"),
        (timedelta(minutes=-4), "warn", "4 min ahead of the service's"),
        (timedelta(minutes=6), "fail", "6 min behind the service's"),
        (timedelta(days=-1), "fail", "1440 min ahead of the service's"),
    ],
)
def test_a_skewed_clock(ahead: timedelta, state: str, words: str) -> None:
    finding = Service(ahead=ahead).findings()["clock"]

    assert finding.state == state
    assert finding.text.startswith(words)
    assert state == "ok" or "timedatectl" in finding.advice


def test_a_clock_that_is_off_does_not_keep_from_trying_the_calls() -> None:
    findings = Service(ahead=timedelta(hours=1)).findings()

    assert states(findings) == {"clock": "fail", "shard filter": "skip"}


def test_an_answer_without_a_time() -> None:
    assert states(Service(dated=False).findings()) == {"clock": "skip", "shard filter": "skip"}


def test_a_refusal_is_an_answer() -> None:
    refusal = refused("MissingAuthenticationToken")
    refusal.response["ResponseMetadata"]["HTTPHeaders"] = {"date": format_datetime(NOW, usegmt=True)}
    findings = Service(refusals={"list_streams": refusal}).findings()

    assert states(findings) == {"shard filter": "skip"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (botocore_errors.EndpointConnectionError(endpoint_url=STREAMS), "Check --region"),
        (botocore_errors.SSLError(endpoint_url=STREAMS, error="self-signed"), "AWS_CA_BUNDLE"),
        (botocore_errors.ProxyConnectionError(proxy_url="http://proxy"), "HTTPS_PROXY"),
        (refused("404", "<html>Not found</html>", 404), "Check --endpoint-url"),
    ],
)
def test_an_endpoint_where_no_dynamodb_answers(error: Exception, words: str) -> None:
    findings = Service(refusals={"list_streams": error}).findings()

    assert states(findings) == {"endpoint": "fail", **after("endpoint")}
    assert words in findings["endpoint"].advice


def test_a_mistyped_region_is_asked_about() -> None:
    there = "https://streams.dynamodb.eu-centrall-1.amazonaws.com"
    error = botocore_errors.EndpointConnectionError(endpoint_url=there)
    service = Service(refusals={"list_streams": error}, urls={"dynamodb": there, "dynamodbstreams": there})

    assert "did you mean eu-central-1?" in service.findings()["endpoint"].advice


def test_tables_and_streams_of_different_services() -> None:
    service = Service(urls={"dynamodb": "http://localhost:8000", "dynamodbstreams": STREAMS})

    assert service.findings()["endpoint"].state == "warn"
    assert service.findings(service.sim.arn)["endpoint"].state == "ok"


# The table, the stream and its shards


def test_an_unknown_table() -> None:
    findings = Service(refusals={"describe_table": refused("ResourceNotFoundException")}).findings()

    assert findings["table"].text == f"there is no table 'orders' in region us-east-1 at {TABLES}"
    assert "aws dynamodb list-tables --region us-east-1" in findings["table"].advice
    assert states(findings) == {"table": "fail", **after("table")}


@pytest.mark.parametrize("arn", [None, "arn:of-the-last-one"])
def test_a_table_without_a_stream(arn: str | None) -> None:
    findings = Service(table={"LatestStreamArn": arn, "StreamSpecification": None}).findings()

    assert states(findings) == {"table": "fail", **after("table")}
    assert "aws dynamodb update-table --table-name orders" in findings["table"].advice
    assert ("by its ARN: arn:of-the-last-one" in findings["table"].advice) is (arn is not None)


def test_a_stream_that_is_gone() -> None:
    service = Service()
    gone = service.sim.arn.replace("stream/2", "stream/1")
    findings = service.findings(gone)

    assert findings["stream"].state == "fail"
    assert findings["stream"].text == f"there is no stream {gone}"


def test_a_disabled_stream_is_said_to_be_over_and_still_checked() -> None:
    findings = Service(status="DISABLED").findings()

    assert states(findings) == {"stream": "fail", "shard filter": "skip"}
    assert "nothing follows" in findings["stream"].text
    assert "StreamEnabled=true" in findings["stream"].advice


@pytest.mark.parametrize(
    ("view_type", "words"),
    [
        ("KEYS_ONLY", "change.new_image and change.old_image are None"),
        ("NEW_IMAGE", "change.old_image is None"),
        ("OLD_IMAGE", "change.new_image is None"),
    ],
)
def test_a_view_type_that_leaves_images_out(view_type: Any, words: str) -> None:
    finding = Service(SimulatedStream("orders", view_type=view_type)).findings()["view type"]

    assert (finding.state, words in finding.text) == ("warn", True)
    assert "StreamEnabled=false" in finding.advice


def test_no_shards() -> None:
    description = {"StreamDescription": {"StreamStatus": "ENABLED", "TableName": "orders"}}
    findings = Service(refusals={"describe_stream": description}).findings()

    assert states(findings) == {
        "view type": "skip",
        "shards": "warn",
        "iterator": "skip",
        "records": "skip",
        "at timestamp": "skip",
        "shard filter": "skip",
    }


def test_closed_shards_alone() -> None:
    shard = {"ShardId": "s-1", "SequenceNumberRange": {"EndingSequenceNumber": "9"}}
    description = {"StreamDescription": {"StreamStatus": "ENABLED", "TableName": "orders", "Shards": [shard]}}
    answers: dict[str, Refusal] = {
        "describe_stream": description,
        "get_shard_iterator": {"ShardIterator": "x"},
        "get_records": {"Records": []},
    }
    findings = Service(refusals=answers).findings()

    assert findings["shards"].state == "warn"
    assert findings["records"].state == "ok"


def test_an_answer_that_is_none() -> None:
    findings = Service(refusals={"describe_stream": {}}).findings()

    assert states(findings) == {"stream": "fail", **after("stream")}


def test_a_listing_that_leads_back() -> None:
    description = {"StreamDescription": {"StreamStatus": "ENABLED", "LastEvaluatedShardId": "s-1"}}
    finding = Service(refusals={"describe_stream": description}).findings()["stream"]

    assert (finding.state, "leads back to shard s-1" in finding.text) == ("fail", True)


# What the service knows


@pytest.mark.parametrize("used", ["get_shard_iterator AT_TIMESTAMP", "get_records"])
@pytest.mark.parametrize(
    "error", [refused("ValidationException"), refused("InternalServerError", status=500)]
)
def test_a_service_that_does_not_know_at_timestamp(
    used: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    if used == "get_records":  # made, and refused when it is used
        usual = service.sim.client.get_records
        monkeypatch.setattr(service.sim.client, "get_records", _refusing_at_timestamp(service, usual, error))
    else:
        service.refusals[used] = error
    findings = service.findings()

    assert states(findings) == {"at timestamp": "warn", "shard filter": "skip"}
    assert "loses nothing" in findings["at timestamp"].advice


def _refusing_at_timestamp(service: Service, usual: Any, error: Exception) -> Any:
    def get_records(**arguments: Any) -> Any:
        kinds = [args["ShardIteratorType"] for name, args in service.calls if name == "get_shard_iterator"]
        if kinds[-1] == "AT_TIMESTAMP":
            raise error
        return usual(**arguments)

    return get_records


@pytest.mark.parametrize("answer", ["ignored", "refused"])
def test_a_service_that_does_not_know_shard_filter(answer: str) -> None:
    service = Service(SimulatedStream("orders", supports_shard_filter=False))
    service.sim.split(service.sim.shards[0].id)
    if answer == "refused":
        service.refusals["describe_stream filtered"] = refused("ValidationException")
    findings = service.findings()

    assert states(findings) == {"shard filter": "warn"}
    assert "Nothing to do" in findings["shard filter"].advice


def test_calls_that_fail_in_passing_are_made_again() -> None:
    service = Service()
    failures = iter([refused("ThrottlingException"), refused("InternalServerError", status=500)])

    def fail_twice(operation: str, _: Any) -> None:
        for error in failures:
            raise error

    service.sim.before_call = fail_twice
    service.refusals["list_streams"] = {"Streams": [], "ResponseMetadata": {"HTTPHeaders": {}}}
    assert states(service.findings()) == {"clock": "skip", "shard filter": "skip"}


def test_too_many_readers() -> None:
    findings = Service(refusals={"get_records": refused("LimitExceededException")}).findings()

    assert findings["records"].state == "fail"
    assert "two readers" in findings["records"].advice


# Settings


def test_another_things_arn() -> None:
    with pytest.raises(ConfigurationError, match="looks like an ARN"):
        diagnose("arn:aws:sns:eu-central-1:1:topic")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No settings but those that the test makes; the profile `dev` is of eu-west-3."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text("[profile dev]\nregion = eu-west-3\n")
    (tmp_path / "credentials").write_text(
        "[dev]\naws_access_key_id = AKIAOFDEV5678\naws_secret_access_key = hush\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-01-31T12:00:00.000"


def at_nobodys(stream: str = "orders", **options: Any) -> dict[str, Finding]:
    findings = list(diagnose(stream, endpoint_url="http://127.0.0.1:1", **options))
    assert all(finding.advice for finding in findings if finding.state in ("warn", "fail"))
    return {finding.what: finding for finding in findings}


def test_where_the_region_comes_from(settings: pytest.MonkeyPatch) -> None:
    assert at_nobodys(ARN)["region"].text == "eu-west-1, from the ARN"
    assert at_nobodys(profile_name="dev")["region"].text == "eu-west-3, from the profile dev"
    settings.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert at_nobodys()["region"].text == "eu-west-2, from AWS_DEFAULT_REGION"
    assert at_nobodys(region_name="eu-west-1")["region"].text == "eu-west-1, from --region"


def test_an_arn_of_another_region(settings: pytest.MonkeyPatch) -> None:
    finding = at_nobodys(ARN, region_name="eu-west-2")["region"]

    assert finding.state == "fail"
    assert "is in region eu-west-1, and region_name= (--region) is eu-west-2" in finding.text
    made_up = ARN.replace("eu-west-1", "ddblocal")
    assert at_nobodys(made_up, region_name="eu-west-2")["region"].state == "ok"


def test_the_arns_region_is_the_one_that_is_used(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    finding = at_nobodys(ARN)["region"]

    assert finding == Finding(
        "ok", "region", "eu-west-1, from the ARN, and not eu-west-2, from AWS_DEFAULT_REGION"
    )


def test_an_arn_goes_to_the_service_as_it_is() -> None:
    service = Service()
    table = service.sim.arn.partition("/stream/")[0]
    findings = service.findings(table)

    assert states(findings) == {"shard filter": "skip"}
    assert [asked["TableName"] for name, asked in service.calls if name == "describe_table"] == [table]


def test_a_table_of_the_same_name_in_another_account() -> None:
    service = Service()
    table = service.sim.arn.partition("/stream/")[0].replace(":123456789012:", ":111111111111:")
    findings = service.findings(table)

    assert states(findings) == {"table": "fail", **after("table")}
    assert "is another one's" in findings["table"].text


def test_a_table_that_is_being_deleted_is_not_one_to_enable_a_stream_on() -> None:
    table = {"TableStatus": "DELETING", "LatestStreamArn": None, "StreamSpecification": None}
    finding = Service(table=table).findings()["table"]

    assert (finding.state, finding.text) == ("fail", "orders is being deleted, and its stream with it")
    assert "update-table" not in finding.advice


def test_no_region_and_no_credentials(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("AWS_REGION", "eu-west-2")
    findings = at_nobodys()

    assert states(findings) == {"region": "fail", "credentials": "fail", **after("credentials")}
    assert "boto3 does not look at AWS_REGION" in findings["region"].text
    assert "AWS_ACCESS_KEY_ID" in findings["credentials"].advice


def test_credentials_of_a_file(settings: pytest.MonkeyPatch) -> None:
    finding = at_nobodys(profile_name="dev")["credentials"]

    assert finding == Finding("ok", "credentials", "from shared-credentials-file (access key ...5678)")


def test_half_of_the_credentials(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    findings = at_nobodys(region_name="eu-west-1")

    assert findings["credentials"].state == "fail"
    assert "AWS_SECRET_ACCESS_KEY" in findings["credentials"].text
    assert findings["endpoint"].text.startswith("http://127.0.0.1:1 cannot be reached")


def test_no_such_profile(settings: pytest.MonkeyPatch) -> None:
    findings = at_nobodys(profile_name="nobody")

    assert states(findings) == {"settings": "fail", **dict.fromkeys(CHECKS, "skip")}
    assert "nobody" in findings["settings"].text


def test_an_endpoint_that_is_no_url(settings: pytest.MonkeyPatch) -> None:
    findings = {f.what: f for f in diagnose("orders", region_name="eu-west-1", endpoint_url="localhost:8000")}

    assert findings["endpoint"].state == "fail"
    assert "http://" in findings["endpoint"].text


class _Page(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Welcome</html>")

    def log_message(self, *_: object) -> None:
        pass


def test_a_web_server_is_no_dynamodb() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        findings = {
            f.what: f for f in diagnose("orders", endpoint_url=f"http://127.0.0.1:{server.server_port}")
        }
        server.shutdown()

    assert findings["endpoint"].state == "fail"
    assert "not as DynamoDB" in findings["endpoint"].text


# As a person has it


def create_table(url: str, name: str, view_type: str) -> None:
    client = boto3.client("dynamodb", endpoint_url=url)
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": view_type},
    )
    client.put_item(TableName=name, Item={"id": {"S": "of-an-item"}})
    client.close()


def run(*arguments: str, without: tuple[str, ...] = (), **settings: str) -> tuple[int, str, str]:
    env = {name: value for name, value in os.environ.items() if name not in without}
    ended = subprocess.run(
        [sys.executable, "-m", "rxddbstream", "doctor", *arguments],
        capture_output=True,
        text=True,
        env=env | settings,
        timeout=PATIENCE,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.system
def test_on_moto(endpoint: str) -> None:
    create_table(endpoint, "on-moto", "KEYS_ONLY")
    status, out, err = run("on-moto", "--endpoint-url", endpoint)

    assert (status, err) == (0, "")
    marks = {line[6:20].strip(): line[:6].strip() for line in out.splitlines() if not line.startswith(" ")}
    assert marks == {
        **dict.fromkeys(CHECKS, "ok"),
        "view type": "warn",
        "at timestamp": "warn",
        "shard filter": "skip",
    }
    assert "of-an-item" not in out


@pytest.mark.system
def test_the_page_shows_what_is_printed(endpoint: str) -> None:
    create_table(endpoint, "orders", "NEW_IMAGE")
    [shown] = re.findall(
        r"^<!-- output: rxddbstream doctor orders -->\n```\n(.*?)^```$",
        (DOCS / "doctor.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    status, out, _ = run("orders", AWS_ENDPOINT_URL=endpoint)

    assert status == 0
    assert without_what_differs(out) == without_what_differs(shown)


def without_what_differs(text: str) -> str:
    text = re.sub(r"http://[\w.]+:\d+", "URL", text)
    text = re.sub(r"in \d+ ms", "in N ms", text)
    text = re.sub(r"shardId-[\w-]+", "SHARD", text)
    text = re.sub(r"access key \.\.\.\w+", "access key ...XXXX", text)
    text = re.sub(r"[a-z]+-[a-z]+-\d\b", "REGION", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", "TIME", text)


@pytest.mark.system
def test_on_a_terminal_the_states_are_coloured(endpoint: str) -> None:
    nowhere = ("doctor", "nowhere", "--endpoint-url", endpoint)
    with Terminal(*nowhere) as terminal:
        assert terminal.wait() == 1
    assert "\x1b[32mok    \x1b[0mregion" in terminal.screen
    assert "\x1b[1;31mfail  \x1b[0mtable" in terminal.screen
    with Terminal(*nowhere, "--color", "never") as terminal:
        assert terminal.wait() == 1
    assert "\x1b" not in terminal.screen


@pytest.mark.system
def test_wrong_everything(endpoint: str) -> None:
    status, out, err = run("nowhere", "--endpoint-url", endpoint)
    assert (status, err) == (1, "")
    assert "\nfail  table         there is no table 'nowhere'" in out
    assert "      Check the name, the region and the account: aws dynamodb list-tables --region" in out

    status, out, err = run("orders", "--endpoint-url", "http://127.0.0.1:1")
    assert (status, err) == (1, "")
    assert "\nfail  endpoint      http://127.0.0.1:1 cannot be reached" in out
    assert "\nskip  table         the endpoint cannot be reached" in out

    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    status, out, err = run("orders", "--endpoint-url", endpoint, without=keys)
    assert (status, err) == (1, "")
    assert out.startswith("fail  region        there is none")

    status, out, err = run("arn:aws:sns:eu-central-1:1:topic")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["doctor", "--help"])
    assert exit_.value.code == 0
    assert "exit status:" in capsys.readouterr().out


def test_what_a_service_says_moves_no_cursor() -> None:
    lines = list(lines_of(Finding("fail", "table", "it says \x1b[2J", "see \x1b]0;x\x07\nand \x9b2J")))

    assert all(line.isprintable() for line in lines)
    assert len(lines) == 3


def test_marks_can_be_painted_and_all_else_is_plain() -> None:
    finding = Finding("warn", "clock", "30 s behind", "one\ntwo")

    lines = list(lines_of(finding, lambda text, style: f"<{style} {text}>"))
    assert lines == ["<yellow warn  >clock         30 s behind", "      one", "      two"]


def test_on_dynamodb_local(dynamodb_local: DynamoDBLocal) -> None:
    dynamodb_local.create_table("doctor")
    dynamodb_local.client("dynamodb").put_item(TableName="doctor", Item={"id": {"S": "of-an-item"}})
    options: dict[str, Any] = {
        "session": dynamodb_local.session(),
        "endpoint_url": dynamodb_local.endpoint_url,
    }
    findings = {finding.what: finding for finding in diagnose("doctor", **options)}

    assert states(findings) == {"at timestamp": "warn", "shard filter": "skip"}
    assert findings["records"].text.startswith("its oldest record was read")
    unknown = {finding.what: finding for finding in diagnose("unknown", **options)}
    assert states(unknown) == {"table": "fail", **after("table")}


def test_on_dynamodb_local_after_a_roll_over(racing_dynamodb_local: DynamoDBLocal) -> None:
    arn = racing_dynamodb_local.create_table("doctor-racing")
    streams = racing_dynamodb_local.client("dynamodbstreams")
    deadline = time.monotonic() + PATIENCE
    while len(streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]) < 2:
        racing_dynamodb_local.client("dynamodb").put_item(TableName="doctor-racing", Item={"id": {"S": "x"}})
        assert time.monotonic() < deadline
        time.sleep(0.5)
    findings: dict[str, Finding] = {}
    # Its timers race, too: now and then it drops the connection in the middle of a call.
    while not findings or "fail" in (findings["endpoint"].state, findings["stream"].state):
        assert time.monotonic() < deadline
        session, url = racing_dynamodb_local.session(), racing_dynamodb_local.endpoint_url
        findings = {each.what: each for each in diagnose("doctor-racing", session=session, endpoint_url=url)}
    # It heeds no ShardFilter; and its clock is days ahead.
    assert (findings["shard filter"].state, findings["clock"].state) == ("warn", "fail")
    assert findings["shard filter"].text == "the service does not heed it"
