"""What can go wrong with a call: AWS's errors, and a seeded source of them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

ENDPOINT = "https://streams.dynamodb.us-east-1.amazonaws.com"

_MESSAGES = {
    "ExpiredIteratorException": "The provided iterator exceeds the maximum age allowed.",
    "InternalServerError": "The server encountered an internal error.",
    "LimitExceededException": "Too many operations for a given subscriber.",
    "ResourceNotFoundException": "Requested resource not found",
    "ThrottlingException": "Rate exceeded",
    "TrimmedDataAccessException": "The data you are trying to access has been trimmed.",
}
_STATUS = {"InternalServerError": 500, "ServiceUnavailable": 503}  # the others are 400


def metadata(status: int = 200, at: datetime | None = None) -> dict[str, Any]:
    """The part that boto3 adds to every answer; with the time of it, in whole seconds, as AWS has it."""
    return {
        "RequestId": "SIMULATED",
        "HTTPStatusCode": status,
        "HTTPHeaders": {} if at is None else {"date": format_datetime(at, usegmt=True)},
        "RetryAttempts": 0,
    }


def client_error(code: str, operation: str, message: str | None = None) -> ClientError:
    """The exception that boto3 raises when AWS answers with an error.

    >>> print(client_error("ThrottlingException", "GetRecords"))
    An error occurred (ThrottlingException) when calling the GetRecords operation: Rate exceeded
    """
    text = _MESSAGES.get(code, code) if message is None else message
    return ClientError(
        {
            "Error": {"Code": code, "Message": text},
            "ResponseMetadata": metadata(_STATUS.get(code, 400)),
        },
        operation,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often calls fail, as probabilities between 0 and 1; the same seed fails the same calls.

    No fault loses anything: an iterator whose answer failed or was cut can be used again.

    Attributes:
        seed: of the random numbers, one of which is drawn for each call.
        throttle: ThrottlingException.
        server_error: InternalServerError, a 500.
        reset: the connection is closed without an answer.
        timeout: no answer in time.
        truncate: a 200 whose body was cut: boto3 answers without any member, and does not raise.
        expire_after: seconds after which iterators expire, in place of the stream's own lifetime.
        limit: how many faults there are at most; None: no end.

    >>> stormy = Faults(seed=1, throttle=0.1, reset=0.02, limit=50)
    """

    seed: int = 0
    throttle: float = 0.0
    server_error: float = 0.0
    reset: float = 0.0
    timeout: float = 0.0
    truncate: float = 0.0
    expire_after: float | None = None
    limit: int | None = None


class FaultSource:
    """Draws the faults, call by call."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._random = random.Random(faults.seed)
        self._left = faults.limit

    def draw(self, operation: str) -> Exception | dict[str, Any] | None:
        """What the next call meets with: an error to raise, a cut answer, or nothing."""
        if self._left == 0:
            return None
        point = self._random.random()  # one for each call, so that one fault does not move another
        for probability, fault in (
            (self._faults.throttle, "ThrottlingException"),
            (self._faults.server_error, "InternalServerError"),
            (self._faults.reset, ConnectionClosedError),
            (self._faults.timeout, ReadTimeoutError),
            (self._faults.truncate, None),
        ):
            if point < probability:
                if self._left is not None:
                    self._left -= 1
                if fault is None:
                    return {}
                failure: Exception = (
                    client_error(fault, operation) if isinstance(fault, str) else fault(endpoint_url=ENDPOINT)
                )
                return failure
            point -= probability
        return None
