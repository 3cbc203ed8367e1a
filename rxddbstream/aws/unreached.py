"""A call that got no answer: a setting that cannot work, or a network that fails in passing."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from typing import NamedTuple

import botocore.exceptions as botocore_errors
from urllib3.exceptions import LocationValueError

CHECK_PROXY = "Check HTTPS_PROXY and HTTP_PROXY; NO_PROXY names what is reached without them"
_CHECK_CERTIFICATE = (
    "Check the certificate; one of your own, or of a proxy that looks into what passes, is named by "
    "AWS_CA_BUNDLE, or ca_bundle in the profile. A stand-in on this machine is mostly an http:// one"
)
_CHECK_BUNDLE = "Check the file of the certificates to trust: "
_CHECK_URLS = "Check the endpoint's URL, and HTTPS_PROXY and HTTP_PROXY"

_BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")  # in botocore's order
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3}[^')\"]*)")
_PASSING = ("408", "429")  # of a proxy's refusals


class NoAnswer(NamedTuple):
    """What it means that there was no answer.

    Attributes:
        advice: what to check first; empty where the error does not tell.
        is_permanent: whether it is a setting, which another try would not change.
        reason: what botocore's error leaves out; may be empty.
    """

    advice: str = ""
    is_permanent: bool = False
    reason: str = ""


def no_answer(error: BaseException | None) -> NoAnswer:
    """What botocore's error of a call that got no answer means."""
    reasons = list(_reasons(error))
    if any(isinstance(reason, LocationValueError) for reason in reasons):
        return NoAnswer(_CHECK_URLS, is_permanent=True)
    if isinstance(error, botocore_errors.SSLError):
        if any(map(_is_of_bundle, reasons)):
            return NoAnswer(_CHECK_BUNDLE + _bundle(), is_permanent=True)
        is_distrusted = any(isinstance(reason, ssl.SSLCertVerificationError) for reason in reasons)
        return NoAnswer(_CHECK_CERTIFICATE, is_distrusted)
    if isinstance(error, botocore_errors.ProxyConnectionError):
        answer = next((found[1] for reason in reasons if (found := _TUNNEL.search(str(reason)))), "").strip()
        is_refusal = answer.startswith("4") and not answer.startswith(_PASSING)
        return NoAnswer(CHECK_PROXY, is_refusal, f", which answers {answer}" if answer else "")
    return NoAnswer()


def _reasons(error: BaseException | None) -> Iterator[BaseException]:
    """What botocore's error is made of, from the outside in: it keeps that beside it, and urllib3 inside."""
    reason: object = getattr(error, "kwargs", {}).get("error")
    while isinstance(reason, BaseException):
        yield reason
        reason = next((inner for inner in reason.args if isinstance(inner, BaseException)), None)


def _is_of_bundle(reason: BaseException) -> bool:
    if isinstance(reason, ssl.SSLError):
        return "X509" in str(reason) or "PEM" in str(reason)
    return isinstance(reason, FileNotFoundError | PermissionError | NotADirectoryError)


def _bundle() -> str:
    """Where botocore has the file from; its error does not name it."""
    named = (f"{name} names {path}" for name in _BUNDLES if (path := os.environ.get(name)))
    return next(named, "ca_bundle in the profile names it")
