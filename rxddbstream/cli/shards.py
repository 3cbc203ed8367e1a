"""`rxddbstream shards`: a stream's lineage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rxddbstream.cli.arguments import DONE, LOST_CHANGES, add_stream, make_parser
from rxddbstream.cli.notes import Notes, advice
from rxddbstream.cli.terminal import can_draw
from rxddbstream.errors import ConnectionLost
from rxddbstream.views.printing import put

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from rxddbstream.model.shard import Shard
    from rxddbstream.views.shard_tree import ShardTree

NOTES = """\
The only shard that continues another stands right below it, marked by an arrow; the shards of a split stand
further in. The age is what the shard's ID tells; AWS does not document that, and other services have other
IDs: where it cannot be, it is left out.
"""


def parser() -> ArgumentParser:
    """The command's options."""
    about = "Print a stream's shards as a tree, each below the one that it continues."
    parser = make_parser("rxddbstream shards", about, NOTES)
    add_stream(parser)
    parser.add_argument(
        "--read",
        action="store_true",
        help="read each shard up to now, and show how many changes it holds, and of when",
    )
    parser.add_argument(
        "-o",
        "--format",
        choices=["tree", "mermaid", "json"],
        default="tree",
        help="tree (default); mermaid: a flowchart, as GitHub draws them; json: one object",
    )
    return parser


def run(args: Namespace) -> int:
    """Do it; returns the exit status."""
    from rxddbstream.views.lineage import lineage

    notes = _Notes(args.verbose)
    try:
        tree = lineage(
            args.stream,
            read=args.read,
            events=notes,
            region_name=args.region,
            profile_name=args.profile,
            endpoint_url=args.endpoint_url,
        )
    except ConnectionLost as error:
        raise ConnectionLost(f"{error}; {advice(error)}") from error
    for line in _lines(tree, args.format):
        put(line)
    return LOST_CHANGES if notes.gaps else DONE


class _Notes(Notes):
    """All but which shards are read: that is what the tree tells."""

    def __init__(self, is_logged: bool) -> None:
        super().__init__(is_logged)
        self._is_advised = True  # the stream was found, or there would be nothing to tell

    def opened(self, shard: Shard) -> None:
        pass


def _lines(tree: ShardTree, kind: str) -> Iterable[str]:
    if kind == "json":
        return [tree.to_json()]
    if kind == "mermaid":
        return tree.mermaid().splitlines()
    return tree.lines(ascii_only=not can_draw())
