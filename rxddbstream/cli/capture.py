"""`rxddbstream capture`: writes what a stream brings to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rxddbstream.cli.arguments import add_reading, add_stream, make_parser

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from rxddbstream.testing import Written

EXAMPLES = """\
examples:
  rxddbstream capture orders orders.jsonl.gz                  from now on; Ctrl-C ends it
  rxddbstream capture orders orders.jsonl.gz --since 15m      and the last 15 minutes
  rxddbstream replay orders.jsonl.gz -ps

The file has the contents of items. It is created so that nobody else may read it.
"""


def parser() -> ArgumentParser:
    """The command's options."""
    about = "Write a table's changes to a file as they come, with their shards, pages and times."
    parser = make_parser("rxddbstream capture", about, EXAMPLES)
    add_stream(parser)
    parser.add_argument("file", metavar="FILE", help="JSON lines; compressed if the name ends in .gz")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    add_reading(parser)
    return parser


def run(args: Namespace) -> int:
    """Do it; returns the exit status."""
    from rxddbstream import consume
    from rxddbstream.cli.notes import Notes, note
    from rxddbstream.cli.source import for_a_while, open_shards
    from rxddbstream.testing import capture

    notes = Notes(args.verbose)
    source = capture(open_shards(args, notes), args.file, overwrite=args.force, limit=args.count)
    try:
        consume.run(for_a_while(source, args))
    finally:
        note(f"rxddbstream: {_summary(source.written(), args.file)}")
    return notes.status


def _summary(written: Written, file: str) -> str:
    if not written.shards:
        return "nothing was captured"
    from rxddbstream.model.words import counted

    changes, shards = counted(written.changes, "change"), counted(written.shards, "shard")
    return f"captured {changes} of {shards}: {written.bytes:,} bytes in {file}"
