"""What can be typed: which command it is, and the options that several commands have."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

Number = TypeVar("Number", int, float)

DONE, FAILED, WRONG_USAGE, LOST_CHANGES = 0, 1, 2, 3
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

COMMANDS = {
    "capture": "a table's changes into a file, to be replayed",
    "demo": "a table in this process, with no account, and what happens to it",
    "replay": "the changes of a captured file",
    "shards": "a stream's shards as a tree",
    "top": "what is read, shard by shard, live",
    "doctor": "what stands in the way of reading a stream, and what to do",
}
"""Those that have a name, and what each is for; without a name it is `watch`."""


class Command(Protocol):
    """What each command's module has."""

    def parser(self) -> argparse.ArgumentParser:
        """Its options."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do it; returns the exit status."""
        ...


def command(name: str) -> Command:
    """The module of a command."""
    return cast(Command, importlib.import_module(f"rxddbstream.cli.{name}"))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, with the command's name as `command`; exits after `--help` or a mistake."""
    # Not subparsers: with those, the first word could not be a table's name.
    name, words = (argv[0], argv[1:]) if argv and argv[0] in COMMANDS else ("watch", argv)
    parser = command(name).parser()
    parser.set_defaults(command=name)
    if name != "watch":
        return parser.parse_args(words)
    args, left = parser.parse_known_args(words)
    if left:
        import difflib

        meant = difflib.get_close_matches(args.stream, COMMANDS, n=1, cutoff=0.8)
        question = f"; did you mean `rxddbstream {meant[0]}`?" if meant else ""
        parser.error(f"unrecognized arguments: {' '.join(left)}{question}")
    return args


def complete() -> None:
    """Answer the shell that asks how a word may go on, and end; nothing when none does.

    `eval "$(register-python-argcomplete rxddbstream)"` makes it ask.
    """
    if "_ARGCOMPLETE" not in os.environ:
        return
    import argcomplete

    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    first, *more = line.split()[1:] or [""]
    is_command = first in COMMANDS and (more or line.endswith(" "))
    parser = command(first if is_command else "watch").parser()
    if is_command:
        os.environ["_ARGCOMPLETE"] = "2"  # the command's name belongs to the program's
    else:
        for action in parser._actions:
            if action.dest == "stream":
                action.completer = lambda **_: COMMANDS  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False)


def make_parser(prog: str, about: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """A command's parser, with what all of them have."""
    parser = argparse.ArgumentParser(
        prog=prog, description=about, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="log what is done; show where an error came from"
    )
    return parser


def add_stream(parser: argparse.ArgumentParser) -> None:
    """Which stream, and where it is."""
    parser.add_argument("stream", metavar="STREAM", help="a table's name or ARN, or a stream's ARN")
    where = parser.add_argument_group("where it is; by default as for the AWS command line")
    where.add_argument("--region", metavar="NAME", help="such as eu-central-1")
    where.add_argument("--profile", metavar="NAME", help="a profile of ~/.aws/config")
    where.add_argument("--endpoint-url", metavar="URL", help="another one, such as http://localhost:8000")


def add_reading(parser: argparse.ArgumentParser) -> Any:
    """Which part of the stream is read; returns the group, for more of it."""
    read = parser.add_argument_group("what is read")
    read.add_argument(
        "--start",
        "--since",
        default="latest",
        metavar="WHEN",
        help="latest, trim-horizon (all that DynamoDB keeps: 24 hours), how long ago, such as 90s, 15m, "
        "2h30m or 1d, or a time, such as 2026-01-31T12:00 (local, unless it has an offset); by default "
        "latest",
    )
    read.add_argument(
        "--until-end", "--no-follow", action="store_true", help="end with what was there at the start"
    )
    read.add_argument(
        "--for", dest="seconds", type=seconds, metavar="TIME", help="end after 90s, 5m, 2h30m, ..."
    )
    add_count(read)
    return read


def add_count(parser: Any) -> None:
    """After how many changes it ends."""
    parser.add_argument("-n", dest="count", type=positive(int), metavar="N", help="end after N changes")


def seconds(text: str) -> float:
    """How long, of `90s`, `5m` or `2h30m`."""
    from rxddbstream.model.position import duration

    try:
        length = duration(text)
    except OverflowError:
        length = None
    if not length:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time, such as 90s, 5m or 2h30m")
    return length.total_seconds()


def positive(kind: Callable[[str], Number]) -> Callable[[str], Number]:
    """For a number that has to be more than nothing."""

    def convert(text: str) -> Number:
        number = kind(text)
        if not 0 < number < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a positive number")
        return number

    convert.__name__ = getattr(kind, "__name__", "number")  # for argparse's message
    return convert
