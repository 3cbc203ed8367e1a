"""A boto3 session, and the clients made of it.

Credentials, signing, endpoints and configuration are botocore's own. What differs from a client that
boto3 makes by default:

* One attempt a call. botocore's retries block the thread that called; ours wait on the scheduler.
* Short time-outs, and as many connections as there are workers.
* The regional endpoint, unless the configuration says otherwise: botocore 1.44 derives one for each
  account from a stream's ARN, which stand-ins for the service, and many a firewall, do not know.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import boto3
import botocore.config
import botocore.exceptions as botocore_errors

from rxddbstream.aws.errors import explain, no_credentials
from rxddbstream.aws.parser import accelerated
from rxddbstream.aws.places import check_endpoint, check_endpoint_of, region_of, region_to_use, without_user
from rxddbstream.errors import ConfigurationError, RequestFailed, StreamError, StreamNotFound

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 10.0


def open_session(region_name: str | None, profile_name: str | None) -> boto3.Session:
    """boto3's session.

    Raises:
        ConfigurationError: there is no such profile, or the configuration cannot be read.
    """
    try:
        return boto3.Session(region_name=region_name, profile_name=profile_name)
    except botocore_errors.BotoCoreError as error:
        raise _misconfigured(error) from error


def client_maker(
    stream: str,
    session: Any,
    region_name: str | None,
    profile_name: str | None,
    endpoint_url: str | None,
    connections: int,
    as_nobody: bool = False,
    is_beside: bool = False,
) -> Callable[[str], Any]:
    """What makes clients by the name of their service.

    Args:
        stream: whose region is the one to ask in, where it is an ARN.
        session: a `boto3.Session`; None makes one of `region_name` and `profile_name`.
        connections: how many calls of a client may be under way at once.
        as_nobody: makes clients whose credentials are made up: a service refuses them, and so answers.
        is_beside: the clients are for something beside the stream, such as checkpoints, which may be in
            another region: that of `stream` is the last resort.
    """
    session = session or open_session(region_name, profile_name)
    try:
        if is_beside:
            region = region_name or session.region_name or region_of(stream)
        else:
            region = region_to_use(stream, region_name, session.region_name)
        config = _config(session, connections)
    except botocore_errors.BotoCoreError as error:
        raise _misconfigured(error) from error

    create = partial(_create, session, region, config, as_nobody)

    def make(service: str) -> Any:
        if not as_nobody:
            _find_credentials(session)
        try:
            client = create(service, endpoint_url and without_user(endpoint_url))
            url = client.meta.endpoint_url
            if url != without_user(url):  # from a variable or the profile
                client = create(service, without_user(url))
        except (botocore_errors.BotoCoreError, ValueError) as error:
            raise _misconfigured(error) from error
        check_endpoint(client.meta.endpoint_url)
        if not is_beside:
            check_endpoint_of(stream, client.meta.endpoint_url)
        return client

    return make


def _create(
    session: Any,
    region: str | None,
    config: botocore.config.Config,
    as_nobody: bool,
    service: str,
    url: str | None,
) -> Any:
    # Not unsigned: stand-ins learn from the signature which service is meant.
    names = ("aws_access_key_id", "aws_secret_access_key") if as_nobody else ()
    fast = service == "dynamodbstreams" and not as_nobody
    maker = accelerated(session._session) if fast else session._session
    return maker.create_client(
        service, region_name=region, endpoint_url=url, config=config, **dict.fromkeys(names, "nobody")
    )


def _find_credentials(session: Any) -> None:
    """Have the session find its credentials now: what a client raises when it looks for them says less.

    Raises:
        CredentialsError: they cannot be had.
        ConfigurationError: a setting of theirs cannot work.
    """
    try:
        session.get_credentials()
    except botocore_errors.BotoCoreError as error:
        raise _misconfigured(error) from error
    except Exception as error:  # whatever reads a file or another program's output
        raise no_credentials(error, "connecting") from error


def _config(session: Any, connections: int) -> botocore.config.Config:
    from importlib.metadata import version  # late: it takes as long as a third of boto3

    return botocore.config.Config(
        retries={"total_max_attempts": 1},
        max_pool_connections=connections,
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        user_agent_extra=f"rxddbstream/{version('rxddbstream')}",
        account_id_endpoint_mode=_endpoint_mode(session),
    )


def _misconfigured(error: Exception) -> StreamError:
    if isinstance(error, botocore_errors.NoRegionError):
        return ConfigurationError(
            "no region: pass region_name= (--region), set AWS_DEFAULT_REGION, or configure a profile"
        )
    reason = explain(error, "connecting", StreamNotFound)
    if not isinstance(reason, RequestFailed):
        return reason  # credentials that cannot be had, for one
    text = str(error).rstrip(".")
    if text.startswith("Invalid endpoint") and "://" not in text:
        return ConfigurationError(f"{text}: it must begin with http:// or https://")
    return ConfigurationError(f"{text}. Check the arguments, the AWS_* variables and ~/.aws/config")


def _endpoint_mode(session: Any) -> Literal["disabled"] | None:
    name = "account_id_endpoint_mode"
    configured = session._session.get_scoped_config().get(name)
    return None if configured or os.environ.get(f"AWS_{name.upper()}") else "disabled"


def unknown_region(message: str) -> str | None:
    """A sentence about the region of the endpoint that a message names, if boto3 has never heard of it."""
    found = re.search(r"//(?:streams\.)?dynamodb\.([\w-]+)\.amazonaws\.", message)
    if found is None:
        return None
    session, region = boto3.Session(), found[1]
    known = [
        name
        for partition in session.get_available_partitions()
        for name in session.get_available_regions("dynamodbstreams", partition)
    ]
    if region in known:
        return None
    similar = difflib.get_close_matches(region, known, n=1)
    return f"boto3 knows no region {region!r}" + (f"; did you mean {similar[0]}?" if similar else ".")
