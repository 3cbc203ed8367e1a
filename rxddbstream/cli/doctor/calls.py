"""The calls of a diagnosis: each with the error explained, and made again when it fails in passing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rxddbstream.aws.errors import explain
from rxddbstream.aws.unreached import no_answer
from rxddbstream.cli.doctor.finding import Finding, Place, grant, on_one_line
from rxddbstream.errors import (
    AccessDenied,
    ConnectionLost,
    CredentialsError,
    ShardNotFound,
    StreamError,
    Throttled,
    TransientError,
)

TRIES = 3
PAUSE = 0.5


class Calls:
    """Makes the calls.

    Args:
        sleep: waits so many seconds.
        place: where the stream is, for the commands in the advice.
    """

    def __init__(self, sleep: Callable[[float], object], place: Place) -> None:
        self._sleep = sleep
        self.place = place

    def ask(
        self,
        client: Any,
        operation: str,
        not_found: Callable[[str], StreamError] = ShardNotFound,
        **arguments: Any,
    ) -> Any:
        """A call's answer.

        Raises:
            StreamError: it failed, three times where that may pass.
        """
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                return getattr(client, operation)(**arguments)
            except Exception as error:
                reason = explain(error, _name(operation), not_found)
                if last or isinstance(reason, ConnectionLost) or not isinstance(reason, TransientError):
                    raise reason from error
                self._sleep(PAUSE)
        raise AssertionError  # the last try returns or raises

    def failed(self, what: str, error: StreamError, operation: str, resource: str) -> Finding:
        """What a call's failure means.

        Args:
            what: the check.
            operation: the call, such as `GetRecords`.
            resource: on what the call needs a permission.
        """
        cause = error.__cause__
        message = on_one_line(cause or error)
        if isinstance(error, AccessDenied):
            advice = grant(f"dynamodb:{operation}", resource, message)
            return Finding("fail", what, f"{operation} is denied: {_reason(cause, message)}", advice)
        if isinstance(error, CredentialsError):
            text = f"the credentials are refused: {_reason(cause, message)}"
            return Finding("fail", what, text, refused(cause, self.place))
        text = f"{operation} fails: {_reason(cause, message)}"
        if isinstance(error, Throttled):
            advice = "Run it again in a moment: somebody else makes as many calls as there may be"
        elif known := no_answer(cause).advice:
            advice = known
        elif isinstance(error, ConnectionLost):
            advice = "Run it again; if that does not help, check the network, a proxy and --endpoint-url"
        elif isinstance(error, TransientError):
            advice = "Run it again in a moment; the library itself tries such a call again without end"
        else:
            advice = "Check --endpoint-url, and whether the service there knows this call"
        return Finding("fail", what, text, advice)


def refused(error: BaseException | None, place: Place) -> str:
    """What to do about credentials that the service does not take."""
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    text = str(error)
    if "ignature expired" in text or "not yet current" in text or code == "RequestExpired":
        return "Set this machine's clock: see the line about it"
    who = f"aws sts get-caller-identity{place.profile_option}"
    if code.startswith("ExpiredToken"):
        return f"They have expired: sign in again, for example with: aws sso login{place.profile_option}"
    if code in ("UnrecognizedClientException", "InvalidClientTokenId"):
        return (
            "The access key is not known there: it was deleted or switched off, is of another partition, or "
            f"lacks its session token. See whose it is with: {who}"
        )
    return f"Check the secret key and the profile, or sign in again. See whether they work at all with: {who}"


def _reason(cause: BaseException | None, message: str) -> str:
    """The service's own words, without botocore's around them."""
    error = getattr(cause, "response", None) or {}
    code, words = (error.get("Error", {}).get(name, "") for name in ("Code", "Message"))
    return " ".join(f"{code}: {words}".split()) if words else message


def _name(operation: str) -> str:
    return "".join(part.capitalize() for part in operation.split("_"))
