"""`rxddbstream STREAM`: prints changes as they happen."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from typing import TYPE_CHECKING

from rxddbstream.cli.arguments import COMMANDS, add_reading, add_stream, make_parser
from rxddbstream.cli.filters import add_choosing, check_keys, chosen
from rxddbstream.cli.output import add_printing, printer_of

if TYPE_CHECKING:
    from rxddbstream.model.change import Change
    from rxddbstream.reading.stream import Stream

USAGE = """rxddbstream STREAM [options]
       rxddbstream COMMAND [options]"""

EXAMPLES = """\
  rxddbstream -- demo         read a table that has a command's name

examples:
  rxddbstream orders -ps                                  one line a change, from now on
  rxddbstream orders -o diff --since 15m                  what changed, of 15 minutes
  rxddbstream orders -ps --event INSERT --key id=o-1      of one item
  rxddbstream orders -o json | jq .new_image              for other programs
  rxddbstream orders --since trim-horizon --until-end     all that is there
  rxddbstream orders -ps --checkpoint orders.position     those since the last time
  rxddbstream orders --endpoint-url http://localhost:8000

exit status:
  0 done, 1 failed, 2 wrong usage, 3 changes were lost before they could be read, 130 Ctrl-C
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
    add_choosing(parser)
    read = add_reading(parser)
    read.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="keep in FILE how far it came, and go on from there next time; --start is for the first time",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from rxddbstream import consume
    from rxddbstream.cli.notes import Notes
    from rxddbstream.cli.progress_bar import shown
    from rxddbstream.cli.source import bounded, keys_of, open_stream

    notes = Notes(args.verbose)
    stream = open_stream(args, notes)
    source = bounded(chosen(stream, args), args)
    print_change = printer_of(args)
    if args.keys:
        check_keys(args, keys_of(args))
    is_empty = True

    def observe(change: Change) -> None:
        nonlocal is_empty
        is_empty = False
        print_change(change)
        if change.origin is not None:
            change.origin.acknowledge()  # -n ends the stream from inside the last one's on_next

    try:
        with shown(stream, args):
            consume.run(source, observe, grace=consume.EXIT_PATIENCE)
    finally:
        if args.verbose:
            log.info(
                "%(records)d changes were read, by %(calls)d calls of GetRecords, %(empty_calls)d of them "
                "empty; %(retries)d calls had to be made again",
                stream.statistics()._asdict(),
            )
    if is_empty and (args.until_end or args.seconds):
        _explain_silence(stream, args)
    return notes.status


def _explain_silence(stream: Stream[Change], args: argparse.Namespace) -> None:
    from rxddbstream.cli.notes import note

    if (args.events or args.keys or args.pattern) and (read := stream.statistics().records):
        note(f"rxddbstream: none of the {read:,} changes that were read is one of those asked for")
    elif args.until_end and args.start == "latest" and not args.checkpoint:
        note(
            "rxddbstream: nothing to read: --until-end reads what was written before; "
            "did you mean --since trim-horizon?"
        )


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # slow, and seldom asked for

        with contextlib.suppress(OSError):  # as for `--help`
            sys.stdout.write(f"rxddbstream {version('rxddbstream')}\n")
        parser.exit()
