"""What botocore raises, as errors of this library with a message that says what to do."""

from __future__ import annotations

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

_THROTTLING = {
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
}
_UNAVAILABLE = {"InternalFailure", "InternalServerError", "RequestTimeout", "ServiceUnavailable"}
_BAD_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
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
        return CredentialsError(f"{message}. Complete them in the environment or the profile")
    if isinstance(error, _SIGNED_OUT):
        return CredentialsError(f"{message}. Sign in again, for example with 'aws sso login'")
    if isinstance(error, _GARBLED):
        return MalformedAnswer(message)
    if isinstance(error, _UNREACHED):
        return ConnectionLost(message)
    return RequestFailed(f"{doing}: {type(error).__name__}: {error}")


def _explain_answer(
    error: botocore_errors.ClientError, doing: str, not_found: Callable[[str], StreamError]
) -> StreamError:
    answer: Any = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    status = (answer.get("ResponseMetadata") or {}).get("HTTPStatusCode", 0)
    message = f"{doing}: {code}: {answer.get('Error', {}).get('Message', '')}"
    if code in _THROTTLING or status == 429:
        return Throttled(message)
    if code == "ExpiredIteratorException":
        return IteratorExpired(message)
    if code == "TrimmedDataAccessException":
        return IteratorTrimmed(message)
    if code == "ResourceNotFoundException":
        return not_found(message)
    if code in _BAD_CREDENTIALS:
        return CredentialsError(
            f"{message}. The credentials are wrong or have expired: sign in again, and check the "
            "profile and this machine's clock"
        )
    if code in _DENIED:
        return AccessDenied(
            f"{message}. Reading a stream needs dynamodb:DescribeStream, dynamodb:GetShardIterator "
            "and dynamodb:GetRecords on it, and dynamodb:DescribeTable on a table given by its name"
        )
    if code in _UNAVAILABLE or status >= 500:
        return ServiceUnavailable(message)
    return RequestFailed(message)
