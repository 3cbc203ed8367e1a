"""What a check has found, and how a permission is asked for."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from rxddbstream.aws.places import without_user

State: TypeAlias = Literal["ok", "warn", "fail", "skip"]


class Finding(NamedTuple):
    """What a check has found.

    Attributes:
        state: `"ok"`; `"warn"`, it works, but not as one may think; `"fail"`, it stands in the way; `"skip"`,
            it could not be checked.
        what: what was checked.
        text: what was found, on one line.
        advice: what to do next, a line or several; always there with `"warn"` and `"fail"`.
    """

    state: State
    what: str
    text: str
    advice: str = ""


class Place(NamedTuple):
    """Where the stream is, as the AWS command line is told.

    >>> Place(region="eu-west-1", endpoint_url="http://localhost:8000").options
    ' --region eu-west-1 --endpoint-url http://localhost:8000'
    """

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None

    @property
    def options(self) -> str:
        """To be put behind a command."""
        url = self.endpoint_url and without_user(self.endpoint_url)
        named = {"--region": self.region, "--profile": self.profile, "--endpoint-url": url}
        return "".join(f" {name} {shlex.quote(value)}" for name, value in named.items() if value)

    @property
    def profile_option(self) -> str:
        """The same of the profile alone, for commands that are not about the stream."""
        return Place(profile=self.profile).options


def skipped(names: Sequence[str], reason: str) -> Iterator[Finding]:
    """The checks that could not be made."""
    for name in names:
        yield Finding("skip", name, reason)


def on_one_line(error: BaseException) -> str:
    """An error's message."""
    return " ".join(str(error).split())


def grant(action: str, resource: str, message: str) -> str:
    """What to do about a permission that is missing.

    Args:
        action: such as `dynamodb:GetRecords`.
        resource: on what it is needed; the service's message knows better.
        message: the service's own, which tells which kind of policy it misses.
    """
    statement = json.dumps({"Effect": "Allow", "Action": action, "Resource": resource})
    if "explicit deny" in message:
        return (
            f"A policy denies it in so many words, and that outweighs whatever allows it: have {action} on "
            f"{resource} taken out of the deny"
        )
    other = re.search(r"no (VPC endpoint|permissions boundary|session|service control) policy", message)
    whose = f"in the {other[1]} policy" if other else "in a policy of this user or role"
    return f"Allow {action} {whose}: {statement}"


def resource_of_stream(arn: str) -> str:
    """What a policy for reading has to name: all streams of the table, for the next one has another ARN.

    >>> resource_of_stream("arn:aws:dynamodb:eu-west-1:1:table/orders/stream/2026-01-31T12:00:00.000")
    'arn:aws:dynamodb:eu-west-1:1:table/orders/stream/*'
    """
    table, found, _ = arn.partition("/stream/")
    return f"{table}/stream/*" if found else arn


def resource_of_table(table: str, place: Place, message: str) -> str:
    """What a policy has to name for looking the table up; the service's message knows the account."""
    named = re.search(r"on resource: (arn:\S+:table/[\w.-]+)", message)
    return named[1] if named else f"arn:aws:dynamodb:{place.region or 'REGION'}:ACCOUNT:table/{table}"
