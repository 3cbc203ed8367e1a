"""`rxddbstream replay`: prints the changes of a capture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rxddbstream.cli.arguments import DONE, add_count, make_parser, positive
from rxddbstream.cli.filters import add_choosing, chosen
from rxddbstream.cli.output import add_printing, printer_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def parser() -> ArgumentParser:
    """The command's options."""
    about = "Print the changes of a file that `rxddbstream capture` has written."
    parser = make_parser("rxddbstream replay", about)
    parser.add_argument("file", metavar="FILE", help="the file")
    add_printing(parser)
    add_choosing(parser)
    read = parser.add_argument_group("what is read")
    speed: dict[str, Any] = {"type": positive(float), "metavar": "X"}
    read.add_argument(
        "--speed", **speed, help="X times as fast as it happened, 1: as it did (default: at once)"
    )
    add_count(read)
    return parser


def run(args: Namespace) -> int:
    """Do it; returns the exit status."""
    from reactivex import operators as ops

    from rxddbstream import consume
    from rxddbstream.cli.notes import note
    from rxddbstream.testing.captures.format import load
    from rxddbstream.testing.captures.replay import replay_of

    captured = load(args.file)
    if captured.is_cut and not args.verbose:  # else the log says it
        note(f"rxddbstream: warning: {args.file} was cut; this is what there is of it")
    source = chosen(replay_of(captured, speed=args.speed), args)
    consume.run(
        source if args.count is None else source.pipe(ops.take(args.count)),
        printer_of(args),
        grace=consume.EXIT_PATIENCE,
    )
    return DONE
