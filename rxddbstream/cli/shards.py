"""`rxddbstream shards`: a stream's lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rxddbstream.cli.arguments import DONE, add_stream, make_parser

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def parser() -> ArgumentParser:
    """The command's options."""
    about = "Print a stream's shards as a tree, each below the one that it continues."
    parser = make_parser("rxddbstream shards", about)
    add_stream(parser)
    return parser


def run(args: Namespace) -> int:
    """Do it; returns the exit status."""
    from rxddbstream.cli.opening import client_of
    from rxddbstream.cli.tree import list_all, tree

    with client_of(args) as client:
        shards = list(list_all(client))
    for line in tree(shards):
        print(line, flush=True)
    return DONE
