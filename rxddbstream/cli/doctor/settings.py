"""What can be checked without a call to the stream: the region and the credentials."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from typing import Any

import botocore.exceptions as botocore_errors

from rxddbstream.aws.session import region_of
from rxddbstream.cli.doctor.finding import Finding, Place, on_one_line

SOON = timedelta(minutes=10)
SHOWN = 4  # characters of an access key's ID

_A_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")  # of AWS; stand-ins make up names, such as ddblocal


def check_region(
    stream: str, session: Any, region_name: str | None, profile: str | None
) -> tuple[Finding, str | None]:
    """Which region, and where it comes from."""
    own = region_of(stream)
    region = region_name or session.region_name or own
    if region is None:
        ignored = os.environ.get("AWS_REGION")
        hint = f"; boto3 does not look at AWS_REGION, which is {ignored}" if ignored else ""
        advice = "Pass --region, set AWS_DEFAULT_REGION, or run: aws configure set region NAME"
        return Finding("fail", "region", f"there is none{hint}", advice), None
    if region_name:
        source = "--region"
    elif not session.region_name:
        source = "the ARN"
    elif os.environ.get("AWS_DEFAULT_REGION") == region:
        source = "AWS_DEFAULT_REGION"
    elif session._session.get_scoped_config().get("region") == region:
        source = f"the profile {profile or session.profile_name}"
    else:
        source = "the session"
    text = f"{region}, from {source}"
    if own is not None and own != region and _A_REGION.fullmatch(own):
        advice = f"The ARN's is not looked at when another one is set: pass --region {own}"
        return Finding("warn", "region", f"{text}, but the ARN is of {own}", advice), region
    return Finding("ok", "region", text), region


def check_credentials(session: Any, place: Place, now: datetime) -> Finding:
    """Where they come from, whose they look like, and until when they are good."""
    try:
        found = session.get_credentials()
        frozen = found and found.get_frozen_credentials()
    except Exception as error:  # noqa: BLE001 - providers raise what they like
        return Finding("fail", "credentials", on_one_line(error), _how_to_mend(error, place))
    if found is None or not frozen.access_key:
        advice = (
            "Run 'aws configure' or 'aws sso login', set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or pass --profile"
        )
        return Finding("fail", "credentials", "there are none", advice)
    text = f"from {found.method} (access key ...{frozen.access_key[-SHOWN:]})"
    if frozen.access_key.startswith("ASIA") and not frozen.token:
        advice = "Set AWS_SESSION_TOKEN, or aws_session_token in the profile, along with the two keys"
        return Finding("warn", "credentials", f"{text}, a temporary key without its session token", advice)
    expiry: datetime | None = getattr(found, "_expiry_time", None)
    if expiry is not None:
        return _expiring(text, expiry - now, found.method, place)
    if frozen.token:
        text += ", temporary; when they expire is not known, and boto3 does not renew them"
    return Finding("ok", "credentials", text)


def _expiring(text: str, left: timedelta, method: str, place: Place) -> Finding:
    minutes = int(left.total_seconds() // 60)
    text = f"{text}, which expire in {minutes} min"
    if method != "env":  # its variables are read again, and nobody has changed them in this process
        return Finding("ok", "credentials", f"{text}, and are renewed by boto3")
    if left > SOON:
        return Finding("ok", "credentials", f"{text}, and are not renewed")
    advice = f"Sign in again before you start, for example with: aws sso login{place.profile_option}"
    return Finding("warn", "credentials", f"{text}, and are not renewed", advice)


def _how_to_mend(error: Exception, place: Place) -> str:
    if isinstance(error, botocore_errors.PartialCredentialsError):
        return "Complete them in the environment or the profile, or unset the other half"
    if isinstance(error, botocore_errors.SSOError | botocore_errors.TokenRetrievalError):
        return f"Sign in again: aws sso login{place.profile_option}"
    if isinstance(error, botocore_errors.LoginError):
        return f"Sign in again: aws login{place.profile_option}"
    return (
        "Check the profile, its role or its credential_process; the same way they are had by: "
        f"aws sts get-caller-identity{place.profile_option}"
    )
