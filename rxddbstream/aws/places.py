"""Where a stream is: the region and the account that an ARN names, and what an endpoint's URL tells."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from rxddbstream.errors import ConfigurationError

_AWS_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")  # stand-ins make up names, such as ddblocal
_USER = re.compile(r"(://)[^\s\"'<>]*@")


def region_of(arn: str) -> str | None:
    """The region that an ARN names, None of anything else.

    >>> region_of("arn:aws:dynamodb:eu-west-1:123456789012:table/orders")
    'eu-west-1'
    """
    return _part(arn, 3)


def account_of(arn: str) -> str | None:
    """The account that an ARN names, None of anything else.

    >>> account_of("arn:aws:dynamodb:eu-west-1:123456789012:table/orders")
    '123456789012'
    """
    return _part(arn, 4)


def aws_region_of(arn: str) -> str | None:
    """The region that an ARN names if it is one of AWS, as far as its name tells.

    >>> aws_region_of("arn:aws:dynamodb:ddblocal:000000000000:table/orders")
    """
    region = region_of(arn)
    return region if region is not None and _AWS_REGION.fullmatch(region) else None


def region_to_use(stream: str, given: str | None, session_region: str | None) -> str | None:
    """The region to ask in: the ARN's, if it is one of AWS; else the given one, else the session's.

    Args:
        stream: what is looked for: a name or an ARN.
        given: the region that was asked for by name.
        session_region: the one of the session, the environment or the profile.

    Raises:
        ConfigurationError: the ARN's is another one than the given one.

    >>> region_to_use("arn:aws:dynamodb:eu-west-1:123456789012:table/orders", None, "us-east-1")
    'eu-west-1'
    """
    own = aws_region_of(stream)
    if own is not None and given is not None and given != own:
        raise _conflict(stream, own, f"region_name= (--region) is {given}")
    return own or given or session_region or region_of(stream)


def check_endpoint(url: str) -> None:
    """Refuse an endpoint that boto3 takes, and could not ask with any call.

    Raises:
        ConfigurationError: it is one.
    """
    shown = without_password(url)
    if not url.lower().startswith(("http://", "https://")):
        raise ConfigurationError(f"the endpoint {shown} must begin with http:// or https://")
    try:
        port = urlsplit(url).port
    except ValueError as error:
        raise ConfigurationError(f"the endpoint {shown}: {error}") from error
    if port == 0:
        raise ConfigurationError(f"the endpoint {shown}: nothing listens on port 0")


def check_endpoint_of(stream: str, url: object, region: object = None) -> None:
    """Refuse an endpoint, or a client's region, that is not the ARN's.

    Args:
        url, region: as a client tells them; a double may have none, or anything else in their place.

    Raises:
        ConfigurationError: it would read something else of the same name.
    """
    own = aws_region_of(stream)
    if own is None:
        return
    if isinstance(region, str) and region != own:
        raise _conflict(stream, own, f"client= is of {region}")
    there = _region_of_endpoint(url) if isinstance(url, str) else None
    if there is not None and there != own:
        raise _conflict(stream, own, f"the endpoint {without_password(str(url))} is of {there}")


def _conflict(arn: str, own: str, other: str) -> ConfigurationError:
    return ConfigurationError(
        f"{arn} is in region {own}, and {other}: a table of that name there is another one; leave the region "
        "to the ARN, or give the ARN of the one you mean"
    )


def is_another(asked: str, answered: str) -> bool:
    """Whether an answer's ARN is of another region or account than the one that was asked for.

    That of a stand-in, which makes up its region, tells nothing.

    >>> is_another("arn:aws:dynamodb:eu-west-1:1:table/t", "arn:aws:dynamodb:eu-west-1:2:table/t/stream/x")
    True
    """
    if aws_region_of(asked) is None or aws_region_of(answered) is None:
        return False
    return (region_of(asked), account_of(asked)) != (region_of(answered), account_of(answered))


def is_aws(url: str) -> bool:
    """Whether an endpoint is one of AWS.

    >>> is_aws("https://dynamodb.eu-west-1.amazonaws.com"), is_aws("http://localhost:8000")
    (True, False)
    """
    host = _host(url)
    return ".amazonaws." in host or host.endswith((".api.aws", ".on.aws"))


def _region_of_endpoint(url: str) -> str | None:
    if not is_aws(url):
        return None
    return next((label for label in _host(url).split(".") if _AWS_REGION.fullmatch(label)), None)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def without_user(url: str) -> str:
    """A URL without the user and the password in it, which boto3 never sends.

    >>> without_user("http://user:secret@localhost:8000")
    'http://localhost:8000'
    """
    scheme, found, rest = url.rpartition("://")
    return f"{scheme}{found}{rest.rpartition('@')[2]}"


def without_password(text: str) -> str:
    """A text whose URLs show neither user nor password.

    >>> without_password('Could not connect to "http://user:secret@localhost:8000/"')
    'Could not connect to "http://...@localhost:8000/"'
    """
    return _USER.sub(r"\1...@", text)


def _part(arn: str, place: int) -> str | None:
    parts = arn.split(":")
    return parts[place] or None if len(parts) > 5 and parts[0] == "arn" else None
