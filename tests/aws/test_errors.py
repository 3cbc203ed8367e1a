"""Every failure of a call becomes one of the library's errors, with a message for a person."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.exceptions as botocore_errors
import botocore.session
import pytest
import urllib3.exceptions as urllib3_errors
from botocore.credentials import ProcessProvider, RefreshableCredentials
from botocore.parsers import ResponseParserError, create_parser
from hypothesis import given
from hypothesis import strategies as st

from rxddbstream.aws.errors import LONGEST, explain
from rxddbstream.errors import (
    AccessDenied,
    ConfigurationError,
    ConnectionLost,
    CredentialsError,
    IteratorExpired,
    IteratorTrimmed,
    MalformedAnswer,
    RequestFailed,
    ServiceUnavailable,
    ShardFault,
    ShardNotFound,
    StreamError,
    Throttled,
    TransientError,
)

DOING = "reading shard s-1 of arn:orders"


def answered(code: str, status: int = 400, message: str = "the reason") -> StreamError:
    error = botocore_errors.ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},
        "GetRecords",
    )
    return explain(error, DOING, ShardNotFound)


def metadata_error(said: str) -> str:
    return f"Error retrieving metadata: Received {said}"


def failed(error: Exception) -> StreamError:
    return explain(error, DOING, ShardNotFound)


@pytest.mark.parametrize(
    "code",
    [
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    ],
)
@pytest.mark.parametrize("status", [400, 429, 503])
def test_too_many_calls(code: str, status: int) -> None:
    error = answered(code, status)

    assert type(error) is Throttled
    assert str(error) == f"{DOING}: {code}: the reason"


def test_status_429_means_too_many_calls_whatever_the_code() -> None:
    assert type(answered("Whatever", 429)) is Throttled


@pytest.mark.parametrize(
    "code",
    [
        "IDPCommunicationError",
        "InternalFailure",
        "InternalServerError",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
    ],
)
@pytest.mark.parametrize("status", [400, 500])
def test_the_service_is_unavailable(code: str, status: int) -> None:
    error = answered(code, status)

    assert type(error) is ServiceUnavailable
    assert str(error) == f"{DOING}: {code}: the reason"


@pytest.mark.parametrize("operation", ["GetRecords", "DescribeStream"])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"__type":"com.amazonaws.dynamodb.v20120810#Thrott', MalformedAnswer),
        (400, b"", MalformedAnswer),
        (408, b"", ServiceUnavailable),
        (408, b"<html>slow</html>", ServiceUnavailable),
        (400, b"<html>The plain HTTP request was sent to HTTPS port</html>", RequestFailed),
        (403, b"<html>proxy</html>", RequestFailed),
    ],
)
def test_an_error_answer_that_was_cut_is_worth_another_try(
    operation: str, status: int, body: bytes, kind: type[StreamError]
) -> None:
    model = botocore.session.get_session().get_service_model("dynamodbstreams").operation_model(operation)
    parsed = create_parser("json").parse(
        {"status_code": status, "headers": {}, "body": body}, model.output_shape
    )

    assert type(failed(botocore_errors.ClientError(parsed, operation))) is kind


def test_credentials_that_were_renewed_and_have_expired_already_are_worth_another_try() -> None:
    def over() -> dict[str, str]:
        return {"access_key": "a", "secret_key": "b", "token": "c", "expiry_time": "2026-01-01T00:00:00Z"}

    credentials = RefreshableCredentials("a", "b", "c", datetime(2026, 1, 1, tzinfo=UTC), over, "sts")
    with pytest.raises(RuntimeError) as raised:
        credentials.get_frozen_credentials()
    error = failed(raised.value)

    assert type(error) is ConnectionLost
    assert str(error) == f"{DOING}: {raised.value}"
    assert type(failed(RuntimeError("can't start new thread"))) is RequestFailed


@pytest.mark.parametrize(("code", "status"), [("", 500), ("502", 502), ("Whatever", 503), ("504", 504)])
def test_any_5xx_means_that_the_service_is_unavailable(code: str, status: int) -> None:
    assert type(answered(code, status)) is ServiceUnavailable


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ExpiredIteratorException", IteratorExpired),
        ("TrimmedDataAccessException", IteratorTrimmed),
        ("ResourceNotFoundException", ShardNotFound),
    ],
)
def test_a_position_that_no_longer_holds(code: str, kind: type[ShardFault]) -> None:
    error = answered(code)

    assert type(error) is kind
    assert isinstance(error, ShardFault)
    assert str(error) == f"{DOING}: {code}: the reason"


@pytest.mark.parametrize(
    "code",
    [
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ],
)
def test_credentials_that_are_refused_say_what_to_do(code: str) -> None:
    error = answered(code)

    assert type(error) is CredentialsError
    assert str(error) == (
        f"{DOING}: {code}: the reason. The credentials are wrong: sign in again, and check the profile and "
        "this machine's clock"
    )
    assert not isinstance(error, TransientError)


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException"])
def test_credentials_that_have_expired_say_that_changed_ones_are_not_read_again(code: str) -> None:
    error = answered(code)

    assert type(error) is CredentialsError
    assert str(error).startswith(f"{DOING}: {code}: the reason. The credentials have expired")
    for hint in ("sign in again", "start anew", "not read again", "credential_process"):
        assert hint in str(error)
    assert not isinstance(error, TransientError)


@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"])
def test_a_missing_permission_names_the_actions(code: str) -> None:
    error = answered(code)

    assert type(error) is AccessDenied
    assert str(error).startswith(f"{DOING}: {code}: the reason")
    for action in ("DescribeStream", "GetShardIterator", "GetRecords", "DescribeTable"):
        assert f"dynamodb:{action}" in str(error)


@pytest.mark.parametrize(
    "code", ["ValidationException", "SerializationException", "UnknownOperationException"]
)
def test_what_is_refused_for_good_is_told_as_the_service_put_it(code: str) -> None:
    error = answered(code)

    assert type(error) is RequestFailed
    assert str(error) == f"{DOING}: {code}: the reason"


@pytest.mark.parametrize(
    "answer", [{}, {"Error": {}}, {"Error": {"Code": 400}}, {"ResponseMetadata": {}, "Error": {}}]
)
def test_an_error_answer_with_next_to_nothing_in_it_is_still_explained(answer: dict[str, Any]) -> None:
    error = failed(botocore_errors.ClientError(answer, "GetRecords"))

    assert type(error) is RequestFailed
    assert str(error).startswith(DOING)


@pytest.mark.parametrize(
    "error",
    [
        botocore_errors.EndpointConnectionError(endpoint_url="https://there"),
        botocore_errors.ConnectTimeoutError(endpoint_url="https://there"),
        botocore_errors.ReadTimeoutError(endpoint_url="https://there"),
        botocore_errors.ConnectionClosedError(endpoint_url="https://there"),
        botocore_errors.ProxyConnectionError(proxy_url="https://proxy"),
        botocore_errors.HTTPClientError(error="reset"),
        botocore_errors.ConnectionError(error="refused"),
        botocore_errors.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        botocore_errors.CredentialRetrievalError(provider="sso", error_msg="timed out"),
        botocore_errors.MetadataRetrievalError(error_msg="timed out"),
        ConnectionResetError("reset"),
        BrokenPipeError("broken"),
        TimeoutError("timed out"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_answer_is_a_lost_connection_and_worth_another_try(error: Exception) -> None:
    explained = failed(error)

    assert type(explained) is ConnectionLost
    assert isinstance(explained, TransientError)
    assert str(explained) == f"{DOING}: {error}"


@pytest.mark.parametrize(
    "error",
    [
        botocore_errors.ResponseStreamingError(error="cut"),
        botocore_errors.ChecksumError(checksum_type="crc32", expected_checksum=1, actual_checksum=2),
        ResponseParserError("no JSON"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_garbled_answer_is_malformed_and_worth_another_try(error: Exception) -> None:
    explained = failed(error)

    assert type(explained) is MalformedAnswer
    assert isinstance(explained, TransientError)
    assert str(explained) == f"{DOING}: {error}"


def test_missing_credentials_say_where_to_put_them() -> None:
    error = failed(botocore_errors.NoCredentialsError())

    assert type(error) is CredentialsError
    for hint in (DOING, "aws configure", "aws sso login", "AWS_ACCESS_KEY_ID", "profile_name=", "--profile"):
        assert hint in str(error)


def test_half_of_the_credentials_say_which_half_is_missing() -> None:
    error = failed(botocore_errors.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"))

    assert type(error) is CredentialsError
    assert "AWS_SECRET_ACCESS_KEY" in str(error)
    assert "Complete them in the environment or the profile" in str(error)


@pytest.mark.parametrize(
    "error",
    [
        botocore_errors.TokenRetrievalError(provider="sso", error_msg="expired"),
        botocore_errors.UnauthorizedSSOTokenError(),
        botocore_errors.SSOTokenLoadError(error_msg="no file"),
        botocore_errors.LoginRefreshRequired(),
        botocore_errors.LoginTokenLoadError(error_msg="no file"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_who_is_signed_out_is_told_to_sign_in(error: Exception) -> None:
    explained = failed(error)

    assert type(explained) is CredentialsError
    assert (
        str(explained)
        == f"{DOING}: {str(error).rstrip('.')}. Sign in again, for example with 'aws sso login'"
    )


@pytest.mark.parametrize(
    "error",
    [
        botocore_errors.ParamValidationError(report="ShardId is too short"),
        botocore_errors.UnknownServiceError(service_name="x", known_service_names="y"),
        AttributeError("no attribute 'get_records'"),
        ValueError("odd"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_else_happens_is_a_failed_request_that_names_its_cause(error: Exception) -> None:
    explained = failed(error)

    assert type(explained) is RequestFailed
    assert str(explained) == f"{DOING}: {type(error).__name__}: {error}"


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken", "InvalidClientTokenId"])
@pytest.mark.parametrize("message", ["the reason", "the reason."])
def test_advice_begins_a_sentence_of_its_own(code: str, message: str) -> None:
    text = str(answered(code, message=message))

    assert f"{DOING}: {code}: the reason. " in text
    assert ".." not in text


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            "<!doctype html>\n<title>500 Internal\nServer Error</title>\n<h1>...</h1>",
            "500 Internal Server Error",
        ),
        ("<html>The plain <b>HTTP</b> request</html>", "The plain HTTP request"),
        ("plain <text>", "plain <text>"),
    ],
)
def test_of_a_page_of_html_its_words_are_told(page: str, said: str) -> None:
    error = botocore_errors.ClientError({"Error": {"Code": "500", "Message": page}}, "GetRecords")
    assert str(explain(error, "reading", ShardNotFound)).endswith(f"500: {said}")


# Which call failed decides what an error means: STS and SSO say nothing about the stream.

STS_AND_SSO = [
    "AssumeRole",
    "AssumeRoleWithWebIdentity",
    "GetSessionToken",
    "GetRoleCredentials",
    "CreateToken",
]


def of_credentials(operation: str, code: str, status: int = 400) -> StreamError:
    answer: Any = {
        "Error": {"Code": code, "Message": "the reason"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return explain(botocore_errors.ClientError(answer, operation), DOING, ShardNotFound)


@pytest.mark.parametrize("operation", STS_AND_SSO)
@pytest.mark.parametrize(
    "code",
    [
        "AccessDenied",
        "AccessDeniedException",
        "ForbiddenException",
        "ResourceNotFoundException",
        "TrimmedDataAccessException",
        "ExpiredIteratorException",
        "InvalidIdentityToken",
        "InvalidClientTokenId",
        "ExpiredToken",
        "UnauthorizedException",
        "ValidationError",
    ],
)
def test_an_answer_of_sts_or_sso_is_about_the_credentials(operation: str, code: str) -> None:
    error = of_credentials(operation, code)

    assert type(error) is CredentialsError
    assert str(error).startswith(f"{DOING}: no credentials: {operation} answers {code}: the reason. ")
    assert "dynamodb:" not in str(error)


@pytest.mark.parametrize("operation", STS_AND_SSO)
@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("Throttling", 400, Throttled),
        ("TooManyRequestsException", 429, Throttled),
        ("IDPCommunicationError", 400, ServiceUnavailable),
        ("Whatever", 503, ServiceUnavailable),
        ("", 400, MalformedAnswer),
    ],
)
def test_an_answer_of_sts_or_sso_that_may_pass_is_worth_another_try(
    operation: str, code: str, status: int, kind: type[StreamError]
) -> None:
    assert type(of_credentials(operation, code, status)) is kind


@pytest.mark.parametrize(
    "error",
    [
        botocore_errors.CredentialRetrievalError(provider="custom-process", error_msg="exited with 1"),
        FileNotFoundError(2, "No such file or directory", "/no/such/program"),
        PermissionError(13, "Permission denied", "/etc/token"),
        NotADirectoryError(20, "Not a directory", "/etc/token/x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_credential_process_or_a_file_that_fails_is_not_the_networks_fault(error: Exception) -> None:
    explained = failed(error)

    assert type(explained) is CredentialsError
    assert str(error).rstrip(".") in str(explained)
    assert "credential_process" in str(explained)
    assert "network" not in str(explained)


@pytest.mark.parametrize(
    ("provider", "said", "is_permanent"),
    [
        ("Environment", "No credentials found in credential_source referenced in profile x", True),
        ("Ec2InstanceMetadata", "No credentials found in credential_source referenced in profile x", True),
        ("container-role", metadata_error("non 200 response 403 from container metadata: denied"), True),
        ("container-role", metadata_error("non 200 response 404 from container metadata: "), True),
        ("container-role", metadata_error("non 200 response 429 from container metadata: "), False),
        ("container-role", metadata_error("non 200 response 500 from container metadata: 403"), False),
        ("container-role", metadata_error("error when attempting to retrieve container metadata: x"), False),
        ("iam-role", "Credential refresh failed, response did not contain: access_key", False),
    ],
)
def test_credentials_that_nothing_gives_are_not_asked_for_again(
    provider: str, said: str, is_permanent: bool
) -> None:
    explained = failed(botocore_errors.CredentialRetrievalError(provider=provider, error_msg=said))

    assert type(explained) is (CredentialsError if is_permanent else ConnectionLost)
    assert said.rstrip(".") in str(explained)
    assert ("aws sts get-caller-identity" in str(explained)) is is_permanent


def expiring() -> dict[str, str]:
    return {
        "access_key": "a",
        "secret_key": "b",
        "token": "c",
        "expiry_time": datetime.now(UTC).isoformat(),
    }


@pytest.mark.parametrize("output", ["oops", "null", "[1]", '{"Version": 1}', b"\xff"])
def test_what_a_program_prints_when_credentials_are_renewed_is_no_refusal_of_the_service(
    output: str | bytes, tmp_path: Path
) -> None:
    file = tmp_path / "printed"
    file.write_bytes(output if isinstance(output, bytes) else output.encode())
    provider = ProcessProvider("p", dict)
    credentials = RefreshableCredentials.create_from_metadata(
        expiring(), lambda: provider._retrieve_credentials_using(f"cat {file}"), "custom-process"
    )
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of many kinds
        credentials.get_frozen_credentials()

    explained = failed(raised.value)  # type: ignore[arg-type]

    assert type(explained) is CredentialsError
    assert str(explained).startswith(f"no credentials for {DOING}: ")


# What stands between


def within(*errors: Exception) -> Exception:
    """An error inside of others, as urllib3 has them."""
    inner = errors[-1]
    for outer in reversed(errors[:-1]):
        outer.args = (*outer.args, inner)
        inner = outer
    return inner


def of_tls(*errors: Exception) -> Exception:
    return botocore_errors.SSLError(endpoint_url="https://there", error=within(*errors))


def of_proxy(*errors: Exception) -> Exception:
    return botocore_errors.ProxyConnectionError(proxy_url="http://proxy:3128", error=within(*errors))


def of_http(error: Exception) -> Exception:
    return botocore_errors.HTTPClientError(error=error)


def refused_by_proxy(status: str) -> Exception:
    return of_proxy(
        urllib3_errors.ProxyError(
            "Unable to connect to proxy", OSError(f"Tunnel connection failed: {status}")
        )
    )


DISTRUST = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")


@pytest.mark.parametrize(
    ("error", "is_permanent", "words"),
    [
        (of_tls(urllib3_errors.SSLError(), DISTRUST), True, "AWS_CA_BUNDLE, or ca_bundle"),
        (
            of_tls(urllib3_errors.SSLError(), ssl.SSLError(1, "[SSL: UNEXPECTED_EOF]")),
            False,
            "UNEXPECTED_EOF",
        ),
        (
            of_tls(urllib3_errors.SSLError(), FileNotFoundError(2, "No such file or directory")),
            True,
            "AWS_CA_BUNDLE names /no/where.pem",
        ),
        (
            of_tls(urllib3_errors.SSLError(), ssl.SSLError(136, "[X509: NO_CERTIFICATE_OR_CRL_FOUND]")),
            True,
            "AWS_CA_BUNDLE names /no/where.pem",
        ),
        (refused_by_proxy("407 Proxy Authentication Required"), True, "which answers 407 Proxy Auth"),
        (refused_by_proxy("403 Forbidden"), True, "HTTPS_PROXY"),
        (refused_by_proxy("429 Too Many Requests"), False, "which answers 429"),
        (refused_by_proxy("503 Service Unavailable"), False, "which answers 503"),
        (of_proxy(urllib3_errors.ProxyError("Unable", ConnectionRefusedError(111))), False, "proxy:3128"),
        (of_http(urllib3_errors.URLSchemeUnknown("ftp")), True, "Check the endpoint's URL"),
        (of_http(urllib3_errors.LocationParseError("http://x:99999")), True, "Check the endpoint's URL"),
    ],
)
def test_a_setting_that_cannot_work_is_told_and_what_may_pass_is_tried_again(
    error: Exception, is_permanent: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/where.pem")

    explained = failed(error)

    assert type(explained) is (ConfigurationError if is_permanent else ConnectionLost)
    assert str(explained).startswith(f"{DOING}: ")
    assert words in str(explained)


def test_a_proxy_that_wants_a_password_answers_http_itself() -> None:
    error = answered("407", 407, "<title>Proxy Authentication Required</title>")

    assert type(error) is ConfigurationError
    assert "HTTPS_PROXY" in str(error)


# What a page or a message from elsewhere can do


@pytest.mark.parametrize(
    "piece", ["<", "<title>", "<title", "<!--", "< >", "</", "<title></", "a", "<a", " "]
)
def test_a_page_of_any_length_is_read_in_no_time_and_told_in_a_few_words(piece: str) -> None:
    page = "<" + piece * 2_000_000  # which took the square of its length: hours
    error = botocore_errors.ClientError({"Error": {"Code": "500", "Message": page}}, "GetRecords")

    assert len(str(explain(error, "reading", ShardNotFound))) < LONGEST + 100


@pytest.mark.parametrize("message", ["x" * 10_000_000, "://" * 1_000_000, "http://a@" * 1_000_000])
def test_a_message_of_any_length_is_cut(message: str) -> None:
    for error in (answered("Whatever", message=message), failed(ValueError(message))):
        assert len(str(error)) < LONGEST + 200


@given(st.integers(0, LONGEST * 5), st.sampled_from(["", "<b>", "<title>"]), st.integers(0, 3000))
def test_no_password_is_shown_wherever_a_text_is_cut(before: int, markup: str, after: int) -> None:
    said = f"{markup}{'x' * before} http://user:hunter2-hunter2@proxy:3128/{'x' * after}"

    assert "hunter" not in str(answered("BadGateway", 502, said))


@pytest.mark.parametrize("tags", [LONGEST * 4 - 20, LONGEST * 4 - 30])
def test_no_password_is_shown_of_a_page_that_is_mostly_markup(tags: int) -> None:
    page = f"{'<b>' * (tags // 3)}http://user:hunter2-hunter2-hunter2@proxy:3128/"

    assert "hunter" not in str(answered("BadGateway", 502, page))


def test_an_error_shows_no_password_of_an_endpoint() -> None:
    for error in (
        botocore_errors.EndpointConnectionError(endpoint_url="http://user:hunter2@localhost:8000/"),
        ValueError("http://user:hunter2@localhost"),
    ):
        assert "hunter2" not in str(failed(error))
        assert "localhost" in str(failed(error))
    assert "hunter2" not in str(answered("X", message="see http://user:hunter2@localhost"))
