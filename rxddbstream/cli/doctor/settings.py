"""What can be checked without a call to the stream: the region and the credentials."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

import botocore.exceptions as botocore_errors

from rxddbstream.aws.errors import TRY_CREDENTIALS
from rxddbstream.aws.places import aws_region_of, region_to_use
from rxddbstream.cli.doctor.finding import Finding, Place, on_one_line
from rxddbstream.errors import ConfigurationError

SOON = timedelta(minutes=10)
SHOWN = 4  # characters of an access key's ID


def check_region(
    stream: str, session: Any, region_name: str | None, profile: str | None
) -> tuple[Finding, str | None]:
    """Which region, and where it comes from."""
    try:
        region = region_to_use(stream, region_name, session.region_name)
    except ConfigurationError as error:
        return Finding("fail", "region", str(error), "Leave --region out: the ARN's is used"), None
    if region is None:
        ignored = os.environ.get("AWS_REGION")
        hint = f"; boto3 does not look at AWS_REGION, which is {ignored}" if ignored else ""
        advice = "Pass --region, set AWS_DEFAULT_REGION, or run: aws configure set region NAME"
        return Finding("fail", "region", f"there is none{hint}", advice), None
    set_by = _source_of(session, region_name, profile)
    if set_by is None or (aws_region_of(stream) and not region_name):
        text = f"{region}, from the ARN"
        if session.region_name not in (None, region):
            text += f", and not {session.region_name}, from {set_by}"
    else:
        text = f"{region}, from {set_by}"
    return Finding("ok", "region", text), region


def _source_of(session: Any, region_name: str | None, profile: str | None) -> str | None:
    """Where the region comes from that is set beside the ARN."""
    if region_name:
        return "--region"
    if not session.region_name:
        return None
    if os.environ.get("AWS_DEFAULT_REGION") == session.region_name:
        return "AWS_DEFAULT_REGION"
    if session._session.get_scoped_config().get("region") == session.region_name:
        return f"the profile {profile or session.profile_name}"
    return "the session"


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
    return f"Check the profile, its role or its credential_process; {TRY_CREDENTIALS}{place.profile_option}"
