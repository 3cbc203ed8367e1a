"""`rxddbstream top`: what is read, shard by shard, live."""

from rxddbstream.cli.top.command import parser, run

__all__ = ["parser", "run"]
