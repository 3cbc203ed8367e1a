"""`rxddbstream STREAM`: prints changes as they happen."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rxddbstream.cli.arguments import (
    COMMANDS,
    DONE,
    LOST_CHANGES,
    add_reading,
    add_stream,
    make_parser,
)

if TYPE_CHECKING:
    from rxddbstream.core.model import Change

USAGE = """rxddbstream STREAM [options]
       rxddbstream COMMAND [options]"""

EXAMPLES = """\
  rxddbstream -- demo         read a table that has a command's name

examples:
  rxddbstream orders -ps                                  one line a change, from now on
  rxddbstream orders -ps --since 15m                      and those of the last 15 minutes
  rxddbstream orders --format json | jq .new_image        for other programs
  rxddbstream orders --since trim-horizon --until-end     all that is there
  rxddbstream orders -ps --checkpoint orders.position     those since the last time
  rxddbstream orders --endpoint-url http://localhost:8000

exit status:
  0 done, 1 failed, 2 wrong usage, 130 Ctrl-C, 3 changes were lost before they could be read
"""

log = logging.getLogger("rxddbstream")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    commands = "".join(f"  rxddbstream {name:<16}{what}\n" for name, what in COMMANDS.items())
    parser = make_parser(
        "rxddbstream",
        "Print a DynamoDB table's changes as they happen.",
        f"commands; each has a --help of its own:\n{commands}{EXAMPLES}",
    )
    parser.usage = USAGE
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    add_stream(parser)
    add_printing(parser)
    read = add_reading(parser)
    read.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="keep in FILE how far it came, and go on from there next time; --start is for the first time",
    )
    return parser


def add_printing(parser: argparse.ArgumentParser) -> None:
    """How changes are printed."""
    printed = parser.add_argument_group("what is printed, several if you like")
    add = printed.add_argument
    as_format: dict[str, Any] = {"dest": "formats", "action": "append_const"}
    add("--print-record", "-pr", **as_format, const="record", help="the record as boto3 returns it (default)")
    add("--print-summary", "-ps", **as_format, const="summary", help="one line: time, event, keys")
    formats = ["record", "summary", "json"]
    add(
        "-o",
        "--format",
        dest="formats",
        action="append",
        choices=formats,
        help="by name; json: an object a line",
    )


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    import rxddbstream as rxd
    from rxddbstream.cli.opening import bounded, open_stream
    from rxddbstream.cli.speaking import Notes, note

    notes = Notes(args.verbose)
    stream = open_stream(args, notes)
    print_change = printer_of(args)
    is_empty = True

    def observe(change: Change) -> None:
        nonlocal is_empty
        is_empty = False
        print_change(change)
        if change.frontier is not None:
            change.frontier.acknowledge()  # -n ends the stream from inside the last one's on_next

    try:
        rxd.run(bounded(stream, args), observe)
    finally:
        if args.verbose:
            log.info(
                "%(records)d changes were read, by %(calls)d calls of GetRecords, %(empty_calls)d of them "
                "empty; %(retries)d calls had to be made again",
                stream.statistics()._asdict(),
            )
    # Changes of the second in which it began can be among the newest.
    if is_empty and args.until_end and args.start == "latest" and not args.checkpoint:
        note(
            "rxddbstream: nothing to read: --until-end reads what was written before; "
            "did you mean --since trim-horizon?"
        )
    return LOST_CHANGES if notes.gaps else DONE


def printer_of(args: argparse.Namespace) -> Callable[[Change], None]:
    """What prints a change as the options of `add_printing` want it."""
    from rxddbstream import observers

    formats = args.formats or ["record"]
    printers = {
        "record": observers.print_change_record,
        "summary": observers.print_summary,
        "json": observers.print_json,
    }
    chosen = [printer for name, printer in printers.items() if name in formats]

    def print_change(change: Change) -> None:
        for printer in chosen:
            printer(change)

    return print_change


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # slow, and seldom asked for

        sys.stdout.write(f"rxddbstream {version('rxddbstream')}\n")
        parser.exit()
