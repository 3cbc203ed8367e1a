"""The stream that a command's options name."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from rxddbstream.cli.notes import Notes, note
from rxddbstream.errors import ConfigurationError, TransientError
from rxddbstream.model.position import CLOCKS_DIFFER, AtTime, Position, Start, resolve
from rxddbstream.model.shard import RETENTION

if TYPE_CHECKING:
    from argparse import Namespace

    from reactivex import Observable

    from rxddbstream.model.change import Change
    from rxddbstream.protocol.pacing import Poll
    from rxddbstream.reading.delivery import ShardStream
    from rxddbstream.reading.stream import Stream

T = TypeVar("T")


def open_stream(args: Namespace, notes: Notes, poll: Poll | None = None) -> Stream[Change]:
    """The changes that `add_stream` and `add_reading` have the options for."""
    from rxddbstream.reading.stream import changes

    return changes(args.stream, **_options(args, notes, poll))


def open_shards(args: Namespace, notes: Notes) -> Stream[ShardStream]:
    """The same, by shards."""
    from rxddbstream.reading.stream import shards

    return shards(args.stream, **_options(args, notes, None))


def keys_of(args: Namespace) -> tuple[str, ...]:
    """The names of the table's key; none where they are not known, or the service cannot be reached now.

    Raises:
        StreamError: the stream cannot be found.
    """
    from rxddbstream.reading.options import Connection

    where = Connection(
        args.stream, region_name=args.region, profile_name=args.profile, endpoint_url=args.endpoint_url
    )
    try:
        return where.open(lambda: datetime.now(UTC)).list_shards().keys
    except TransientError:  # which is told, and tried again, when the stream is read
        return ()


def _options(args: Namespace, notes: Notes, poll: Poll | None) -> dict[str, Any]:
    from rxddbstream.checkpoints.sqlite import SqliteCheckpoints
    from rxddbstream.protocol.pacing import Poll

    now = datetime.now(UTC)
    position = position_of(args.start, now)  # for the note alone: what counts is the service's clock
    if isinstance(position, AtTime) and now - position.time > RETENTION:
        note(f"rxddbstream: DynamoDB keeps changes for 24 hours; --start {args.start} is longer ago")
    checkpoint = getattr(args, "checkpoint", None)
    return {
        "start": start_of(args.start),
        "follow": not args.until_end,
        "checkpoints": SqliteCheckpoints(checkpoint) if checkpoint else None,
        "on_gap": "skip",
        "events": notes,
        "poll": poll or Poll(fastest=0.25, slowest=1.0),  # a person is waiting
        "region_name": args.region,
        "profile_name": args.profile,
        "endpoint_url": args.endpoint_url,
    }


def bounded(source: Observable[T], args: Namespace) -> Observable[T]:
    """As much of it as `-n` and `--for` let through."""
    from reactivex import operators as ops

    if args.count is not None:
        source = source.pipe(ops.take(args.count))
    return for_a_while(source, args)


def for_a_while(source: Observable[T], args: Namespace) -> Observable[T]:
    """What comes before `--for` is over, if it is given."""
    from rxddbstream.operators.ends import take_with_time

    return source if args.seconds is None else source.pipe(take_with_time(args.seconds))


def start_of(text: str) -> Start:
    """What people type: a time without an offset is local time."""
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        return text
    return start if start.tzinfo is not None else start.astimezone()


def position_of(text: str, now: datetime) -> Position:
    """The position that such a start stands for, by our clock."""
    try:
        return resolve(start_of(text), now, CLOCKS_DIFFER)
    except ConfigurationError as error:
        reason = re.sub(r"^.*?(?= is not | lies )", "", str(error))
    except (ValueError, OverflowError):  # of a date's local time
        reason = " lies beyond the calendar"
    raise ConfigurationError(f"--start {shlex.quote(text)}{reason}")
