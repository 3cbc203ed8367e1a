"""What botocore raises, as errors of this library with a message that says what to do.

A `TransientError` is retried by whoever made the call. No other error is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import botocore.exceptions as botocore_errors
from botocore.parsers import ResponseParserError

from rxddbstream.aws.answers import came_through, is_of_an_answer
from rxddbstream.aws.places import without_password
from rxddbstream.aws.unreached import CHECK_PROXY, no_answer
from rxddbstream.errors import (
    AccessDenied,
    ConfigurationError,
    ConnectionLost,
    CredentialsError,
    DecodeError,
    IteratorExpired,
    IteratorTrimmed,
    MalformedAnswer,
    RequestFailed,
    ServiceUnavailable,
    StreamError,
    Throttled,
    TransientError,
)

# What botocore's own retries take for passing is passing here, too.
_THROTTLING = {
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
}
_UNAVAILABLE = {
    "IDPCommunicationError",  # the identity provider's, when a role's credentials are renewed
    "InternalFailure",
    "InternalServerError",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException"}
_BAD_CREDENTIALS = {
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_PROXY_REFUSES = 407
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_OF_CREDENTIALS = {
    *("AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "AssumeRoot"),  # STS
    *("GetCallerIdentity", "GetDelegatedAccessToken", "GetFederationToken", "GetSessionToken"),
    *("GetRoleCredentials", "ListAccountRoles", "ListAccounts"),  # SSO
    *("CreateToken", "CreateTokenWithIAM", "RegisterClient", "StartDeviceAuthorization"),  # SSO OIDC
    *("CreateOAuth2Token", "CreateOAuth2TokenWithIAM", "CreateBearerToken"),  # aws login
}
"""The calls that botocore makes for credentials, which may be in the middle of a call of ours."""
_CREDENTIALS = ("botocore.credentials", "botocore.tokens")
_REFUSED_BY_CONTAINER = re.compile(r"non 200 response (4\d\d) from container metadata")
_NO_SUCH_FILE = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
_UNREACHED = (
    botocore_errors.HTTPClientError,
    botocore_errors.ConnectionError,
    botocore_errors.IncompleteReadError,
    botocore_errors.CredentialRetrievalError,
    botocore_errors.MetadataRetrievalError,
    ConnectionError,
    TimeoutError,
)
_GARBLED = (
    botocore_errors.ResponseStreamingError,
    botocore_errors.ChecksumError,
    ResponseParserError,
)
_SIGNED_OUT = (
    botocore_errors.TokenRetrievalError,
    botocore_errors.SSOError,
    botocore_errors.LoginError,
)
_SIGN_IN = "Sign in again, for example with 'aws sso login'"
TRY_CREDENTIALS = "to see whether the AWS CLI gets any: aws sts get-caller-identity"
"""How to find out whether credentials can be had."""

LONGEST = 2000
"""How many characters of an answer are in an error."""

# Neither can begin anew inside of itself, or a page of many beginnings would take the square of its length.
_TITLE = re.compile(r"<title>([^<]*)</title>", re.IGNORECASE)
_OPEN_URL = re.compile(r"://[^\s\"'<>]*\Z")
_TAG = re.compile(r"<[^<>]*>")


def explain(error: Exception, doing: str, not_found: Callable[[str], StreamError]) -> StreamError:
    """The error to raise for one that a call raised.

    Args:
        error: what boto3 raised.
        doing: what the call was for, in words, naming the shard and the stream.
        not_found: makes the error for ResourceNotFoundException, which means something else to each call.
    """
    if isinstance(error, botocore_errors.ClientError):
        if error.operation_name in _OF_CREDENTIALS:
            return _explain_no_credentials(error, doing)
        return _explain_answer(error, doing, not_found)
    words = _shown(str(error))
    message = f"{doing}: {words}"
    if isinstance(error, DecodeError):  # of the parser of ours
        return DecodeError(message)
    if isinstance(error, botocore_errors.NoCredentialsError):
        return CredentialsError(
            f"no credentials for {doing}: run 'aws configure' or 'aws sso login', set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or pass profile_name= (--profile)"
        )
    if isinstance(error, botocore_errors.PartialCredentialsError):
        return CredentialsError(f"{_sentence(message)} Complete them in the environment or the profile")
    if isinstance(error, _SIGNED_OUT):
        return CredentialsError(f"{_sentence(message)} {_SIGN_IN}")
    if _is_without_credentials(error) or isinstance(error, _NO_SUCH_FILE):
        return no_credentials(error, doing)
    return _explain_no_answer(error, doing, words)


def _explain_no_answer(error: Exception, doing: str, words: str) -> StreamError:
    message = f"{doing}: {words}"
    if isinstance(error, _GARBLED):
        return MalformedAnswer(message)
    if isinstance(error, _UNREACHED):
        why = no_answer(error)
        message += why.reason
        if why.is_permanent:
            return ConfigurationError(f"{_sentence(message)} {why.advice}")
        return ConnectionLost(message)
    if _has_renewed_in_vain(error):
        return ConnectionLost(message)
    named = f"{doing}: {type(error).__name__}: {words}"
    if is_of_an_answer(error):
        return MalformedAnswer(named)
    if came_through(error, *_CREDENTIALS) and not isinstance(error, botocore_errors.BotoCoreError):
        return no_credentials(error, doing)  # whatever reads another program's output raises
    return RequestFailed(named)


def no_credentials(error: Exception, doing: str) -> CredentialsError:
    """The error for credentials that could not be had, since a file or a program of theirs failed."""
    words = _shown(str(error) if isinstance(error, botocore_errors.BotoCoreError | OSError) else repr(error))
    return CredentialsError(
        f"no credentials for {doing}: {_sentence(words)} Check the profile's credential_process or "
        "credential_source, and the files and addresses that the profile and the AWS_* variables name; "
        f"{TRY_CREDENTIALS}"
    )


def _is_without_credentials(error: Exception) -> bool:
    """Whether nothing gives credentials where they are looked for, rather than not in this moment."""
    if not isinstance(error, botocore_errors.CredentialRetrievalError):
        return False
    if error.kwargs.get("provider") == "custom-process":
        # boto3 has tried it for minutes before the old ones expire, so that another try would not help.
        return True
    text = str(error)
    refused = _REFUSED_BY_CONTAINER.search(text)
    return "No credentials found in credential_source" in text or (
        refused is not None and refused[1] not in ("408", "429")
    )


def _explain_no_credentials(error: botocore_errors.ClientError, doing: str) -> StreamError:
    """What an answer of STS or SSO means: it says nothing about the stream."""
    code, status, said = _answered(error)
    message = f"{doing}: no credentials: {error.operation_name} answers {code}: {said}"
    passing = _passing(error, code, status, message)
    if passing is not None:
        return passing
    if code in _EXPIRED or code == "UnauthorizedException":
        return CredentialsError(f"{_sentence(message)} {_SIGN_IN}")
    return CredentialsError(
        f"{_sentence(message)} Check the profile: its role or account, whom the role trusts, and whose "
        f"credentials it is asked with; {TRY_CREDENTIALS}"
    )


def _answered(error: botocore_errors.ClientError) -> tuple[str, int, str]:
    """An answer's code, its HTTP status and its words."""
    answer: Any = error.response
    code = _shown(str(answer.get("Error", {}).get("Code", "")))
    status = (answer.get("ResponseMetadata") or {}).get("HTTPStatusCode", 0)
    return code, status, _shown(_without_markup(str(answer.get("Error", {}).get("Message", ""))))


def _passing(
    error: botocore_errors.ClientError, code: str, status: int, message: str
) -> TransientError | None:
    """The error of an answer that another try may not meet, or None."""
    if code in _THROTTLING or status == 429:
        return Throttled(message)
    if code in _UNAVAILABLE or status == 408 or status >= 500:
        return ServiceUnavailable(message)
    if _is_cut(error.response, code, status):
        return MalformedAnswer(message)
    return None


def _explain_answer(
    error: botocore_errors.ClientError, doing: str, not_found: Callable[[str], StreamError]
) -> StreamError:
    code, status, said = _answered(error)
    message = f"{doing}: {code}: {said}"
    if code == "ExpiredIteratorException":
        return IteratorExpired(message)
    if code == "TrimmedDataAccessException":
        return IteratorTrimmed(message)
    if code == "ResourceNotFoundException":
        return not_found(message)
    if code in _EXPIRED:
        return CredentialsError(
            f"{_sentence(message)} The credentials have expired, and are not of a kind that boto3 renews, "
            "as those of a role, SSO or credential_process are: sign in again and start anew, since a file "
            "or a variable that has changed is not read again"
        )
    if code in _BAD_CREDENTIALS:
        return CredentialsError(
            f"{_sentence(message)} The credentials are wrong: sign in again, and check the profile and this "
            "machine's clock"
        )
    if code in _DENIED:
        return AccessDenied(
            f"{_sentence(message)} Reading a stream needs dynamodb:DescribeStream, dynamodb:GetShardIterator "
            "and dynamodb:GetRecords on it, and dynamodb:DescribeTable on a table given by its name"
        )
    if status == _PROXY_REFUSES:
        return ConfigurationError(f"{_sentence(message)} {CHECK_PROXY}")
    return _passing(error, code, status, message) or RequestFailed(message)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _shown(text: str) -> str:
    """What is shown of a text from elsewhere: not more than a page, and no password of a URL.

    >>> _shown('Could not connect to "http://user:secret@localhost:8000/"')
    'Could not connect to "http://...@localhost:8000/"'
    """
    return without_password(_cut(text, LONGEST))


def _cut(text: str, length: int) -> str:
    # A URL at the cut is left out: it may have a password whose @ is behind it.
    return text if len(text) <= length else f"{_OPEN_URL.sub('://', text[: length - 1])}…"


def _without_markup(text: str) -> str:
    """The title or the text of a page of HTML, as proxies answer it; other text as it is."""
    text = _cut(text, LONGEST * 4)  # whatever a page has to say, it says it at its top
    if not text.lstrip().startswith("<"):
        return text
    title = _TITLE.search(text)
    return " ".join((title[1] if title else _TAG.sub(" ", text)).split())


def _is_cut(answer: Any, code: str, status: int) -> bool:
    # botocore puts the status in place of a code that it cannot find, and the body in place of the message.
    # What could have been read there may well be a throttling. A page of HTML is no service of this kind.
    body = str(answer.get("Error", {}).get("Message", ""))
    return status == 400 and code in ("", "400") and not body.lstrip().startswith("<")


def _has_renewed_in_vain(error: Exception) -> bool:
    # Whoever gave the new credentials out is late, or has them in a cache.
    return isinstance(error, RuntimeError) and "refreshed credentials are still expired" in str(error)
