"""`rxddbstream doctor`: what stands in the way of reading a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rxddbstream.cli.arguments import DONE, FAILED, add_stream, make_parser
from rxddbstream.cli.terminal import Brush, add_color, brush_of
from rxddbstream.model.words import printable
from rxddbstream.views.printing import put

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from rxddbstream.cli.doctor.finding import Finding

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}

EXIT = """\
A line is a check: ok, warn (it works, but not as one may think), fail, or skip (it could not
be made). Below it is what to do. Nothing is changed, and nothing of an item is shown.

exit status:
  0 nothing failed, 1 something failed, 2 wrong usage, 130 Ctrl-C
"""


def parser() -> ArgumentParser:
    """The command's options."""
    about = "Check what reading a stream needs, from the region to a record, and say what to do."
    parser = make_parser("rxddbstream doctor", about, EXIT)
    add_stream(parser)
    add_color(parser)
    return parser


def run(args: Namespace) -> int:
    """Do it; returns the exit status."""
    from rxddbstream.cli.doctor.checks import diagnose

    status = DONE
    brush = brush_of(args.color)
    findings = diagnose(
        args.stream,
        region_name=args.region,
        profile_name=args.profile,
        endpoint_url=args.endpoint_url,
    )
    for finding in findings:
        if finding.state == "fail":
            status = FAILED
        for line in lines_of(finding, brush):
            put(line)
    return status


def lines_of(finding: Finding, brush: Brush = lambda text, _: text) -> Iterator[str]:
    """A finding as text: a line, and what to do indented below it.

    >>> from rxddbstream.cli.doctor.finding import Finding
    >>> print(*lines_of(Finding("fail", "region", "there is none", "Pass --region")), sep="\\n")
    fail  region        there is none
          Pass --region
    """
    state = brush(finding.state.ljust(6), STYLES[finding.state])
    yield f"{state}{finding.what:<14}{printable(finding.text)}"
    for line in finding.advice.splitlines():
        yield f"      {printable(line)}"
