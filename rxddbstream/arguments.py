"""What can be typed on the command line, and the help about it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)

USAGE = """rxddbstream STREAM [options]
       rxddbstream demo [-n N] [--rate R]
       rxddbstream shards STREAM [options]"""

EPILOG = """\
commands:
  rxddbstream demo            a table in this process, with no account, and what happens to it
  rxddbstream shards STREAM   print a stream's shards as a tree
  rxddbstream -- demo         read a table that has a command's name

examples:
  rxddbstream orders -ps                                  one line a change, from now on
  rxddbstream orders -ps --start 15m                      and those of the last 15 minutes
  rxddbstream orders --format json | jq .new_image        for other programs
  rxddbstream orders --start trim-horizon --no-follow     all that is there
  rxddbstream orders -ps --checkpoint orders.position     those since the last time
  rxddbstream orders --endpoint-url http://localhost:8000

exit status:
  0 done, 1 failed, 2 wrong usage, 130 Ctrl-C, 3 changes were lost before they could be read
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, with the command's name as `command`; exits after `--help` or a mistake."""
    # Not subparsers: with those, the first word could not be a table's name.
    match list(argv):
        case ["demo", *rest]:
            return _demo().parse_args(rest)
        case ["shards", *rest]:
            return _shards().parse_args(rest)
        case words:
            return _parse_watch(words)


def _parse_watch(words: Sequence[str]) -> argparse.Namespace:
    parser = _watch()
    args, left = parser.parse_known_args(words)
    if left:
        import difflib

        meant = difflib.get_close_matches(args.stream, ["demo", "shards"], n=1, cutoff=0.8)
        question = f"; did you mean `rxddbstream {meant[0]}`?" if meant else ""
        parser.error(f"unrecognized arguments: {' '.join(left)}{question}")
    return args


def _watch() -> argparse.ArgumentParser:
    parser = _parser("watch", "rxddbstream", "Print a DynamoDB table's changes as they happen.", EPILOG)
    parser.usage = USAGE
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    _add_stream(parser)
    printed = parser.add_argument_group("what is printed, several if you like")
    add = printed.add_argument
    as_format: dict[str, Any] = {"dest": "formats", "action": "append_const"}
    add("--print-record", "-pr", **as_format, const="record", help="the record as boto3 returns it (default)")
    add("--print-summary", "-ps", **as_format, const="summary", help="one line: time, event, keys")
    formats = ["record", "summary", "json"]
    add("--format", dest="formats", action="append", choices=formats, help="by name; json: an object a line")
    read = parser.add_argument_group("what is read")
    read.add_argument(
        "--start",
        default="latest",
        metavar="WHEN",
        help="latest (default), trim-horizon (all that DynamoDB keeps: 24 hours), how long ago, such as "
        "90s, 15m, 2h30m or 1d, or a time, such as 2026-01-31T12:00 (local, unless it has an offset)",
    )
    read.add_argument("--no-follow", action="store_true", help="end with what was there at the start")
    read.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="keep in FILE how far it came, and go on from there next time; --start is for the first time",
    )
    _add_count(read)
    return parser


def _demo() -> argparse.ArgumentParser:
    about = "Print the changes of a table of orders that lives in this process, and count them."
    parser = _parser("demo", "rxddbstream demo", about)
    _add_count(parser)
    rate: dict[str, Any] = {"type": _positive(float), "default": 5.0, "metavar": "R"}
    parser.add_argument("--rate", **rate, help="changes written a second (default: 5)")
    return parser


def _shards() -> argparse.ArgumentParser:
    about = "Print a stream's shards as a tree, each below the one that it continues."
    parser = _parser("shards", "rxddbstream shards", about)
    _add_stream(parser)
    return parser


def _parser(command: str, prog: str, about: str, epilog: str | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=about, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(command=command)
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="log what is done; show where an error came from"
    )
    return parser


def _add_stream(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stream", metavar="STREAM", help="a table's name or ARN, or a stream's ARN")
    where = parser.add_argument_group("where it is; by default as for the AWS command line")
    where.add_argument("--region", metavar="NAME", help="such as eu-central-1")
    where.add_argument("--profile", metavar="NAME", help="a profile of ~/.aws/config")
    where.add_argument("--endpoint-url", metavar="URL", help="another one, such as http://localhost:8000")


def _add_count(parser: Any) -> None:
    parser.add_argument("-n", dest="count", type=_positive(int), metavar="N", help="end after N changes")


def _positive(kind: Callable[[str], Number]) -> Callable[[str], Number]:
    def convert(text: str) -> Number:
        number = kind(text)
        if not 0 < number < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a positive number")
        return number

    convert.__name__ = getattr(kind, "__name__", "number")  # for argparse's message
    return convert


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # slow, and seldom asked for

        sys.stdout.write(f"rxddbstream {version('rxddbstream')}\n")
        parser.exit()
