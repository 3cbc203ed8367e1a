"""`rxddbstream demo`: a table in this process, and its changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rxddbstream.cli.arguments import DONE, add_count, make_parser, positive
from rxddbstream.cli.output import add_printing, printer_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def parser() -> ArgumentParser:
    """The command's options."""
    about = "Print the changes of a table of orders that lives in this process, and count them."
    parser = make_parser("rxddbstream demo", about)
    add_printing(parser, default="summary")
    add_count(parser)
    rate: dict[str, Any] = {"type": positive(float), "default": 5.0, "metavar": "R"}
    parser.add_argument("--rate", **rate, help="changes written a second (default: 5)")
    return parser


def run(args: Namespace) -> int:
    """Do it; returns the exit status."""
    from rxddbstream.cli.notes import Notes, note

    print_change = printer_of(args)
    note("Starting a table in this process")  # which takes a second or more
    from rxddbstream.demo import run_demo
    from rxddbstream.views.printing import put

    # Other formats are for programs, which read no total.
    is_for_a_person = args.query is None and {*(args.formats or ["summary"])} == {"summary"}
    run_demo(
        rate=args.rate,
        count=args.count,
        events=Notes(args.verbose),
        print_change=print_change,
        print_total=put if is_for_a_person else note,
    )
    return DONE
