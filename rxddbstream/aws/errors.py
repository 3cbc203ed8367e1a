"""What botocore raises, as errors of this library with a message that says what to do.

A `TransientError` is retried by whoever made the call. No other error is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import botocore.exceptions as botocore_errors
from botocore.parsers import ResponseParserError

from rxddbstream.errors import (
    AccessDenied,
    ConnectionLost,
    CredentialsError,
    IteratorExpired,
    IteratorTrimmed,
    MalformedAnswer,
    RequestFailed,
    ServiceUnavailable,
    StreamError,
    Throttled,
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
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
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


def explain(error: Exception, doing: str, not_found: Callable[[str], StreamError]) -> StreamError:
    """The error to raise for one that a call raised.

    Args:
        error: what boto3 raised.
        doing: what the call was for, in words, naming the shard and the stream.
        not_found: makes the error for ResourceNotFoundException, which means something else to each call.
    """
    if isinstance(error, botocore_errors.ClientError):
        return _explain_answer(error, doing, not_found)
    message = f"{doing}: {error}"
    if isinstance(error, botocore_errors.NoCredentialsError):
        return CredentialsError(
            f"no credentials for {doing}: run 'aws configure' or 'aws sso login', set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or pass profile_name= (--profile)"
        )
    if isinstance(error, botocore_errors.PartialCredentialsError):
        return CredentialsError(f"{_sentence(message)} Complete them in the environment or the profile")
    if isinstance(error, _SIGNED_OUT):
        return CredentialsError(f"{_sentence(message)} Sign in again, for example with 'aws sso login'")
    if isinstance(error, _GARBLED):
        return MalformedAnswer(message)
    if isinstance(error, _UNREACHED) or _has_renewed_in_vain(error):
        return ConnectionLost(message)
    return RequestFailed(f"{doing}: {type(error).__name__}: {error}")


def _explain_answer(
    error: botocore_errors.ClientError, doing: str, not_found: Callable[[str], StreamError]
) -> StreamError:
    answer: Any = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    status = (answer.get("ResponseMetadata") or {}).get("HTTPStatusCode", 0)
    message = f"{doing}: {code}: {_without_markup(str(answer.get('Error', {}).get('Message', '')))}"
    if code in _THROTTLING or status == 429:
        return Throttled(message)
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
    if code in _UNAVAILABLE or status == 408 or status >= 500:
        return ServiceUnavailable(message)
    if _is_cut(answer, code, status):
        return MalformedAnswer(message)
    return RequestFailed(message)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _without_markup(text: str) -> str:
    """The title or the text of a page of HTML, as proxies answer it; other text as it is."""
    if not text.lstrip().startswith("<"):
        return text
    title = re.search(r"<title>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
    return " ".join((title[1] if title else re.sub(r"<[^>]*>", " ", text)).split())


def _is_cut(answer: Any, code: str, status: int) -> bool:
    # botocore puts the status in place of a code that it cannot find, and the body in place of the message.
    # What could have been read there may well be a throttling. A page of HTML is no service of this kind.
    body = str(answer.get("Error", {}).get("Message", ""))
    return status == 400 and code in ("", "400") and not body.lstrip().startswith("<")


def _has_renewed_in_vain(error: Exception) -> bool:
    # Whoever gave the new credentials out is late, or has them in a cache.
    return isinstance(error, RuntimeError) and "refreshed credentials are still expired" in str(error)
