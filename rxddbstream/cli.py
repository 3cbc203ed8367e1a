"""The command line: prints a table's changes as they happen.

Standard output takes the data alone, a line at a time; all else goes to standard error. Whatever is
slow to import is imported when it is needed, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import signal
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from rxddbstream.arguments import parse
from rxddbstream.core.model import (
    RETENTION,
    Checkpointed,
    Event,
    Gap,
    Retrying,
    Shard,
    ShardClosed,
    ShardOpened,
    Throttled,
)
from rxddbstream.core.position import After, AtTime, Latest, Position, TrimHorizon, resolve
from rxddbstream.errors import ConfigurationError, ConnectionLost, StreamError

if TYPE_CHECKING:
    from argparse import Namespace

    from reactivex import Observable

    from rxddbstream.client import StreamClient
    from rxddbstream.core.model import Change

DONE, FAILED, WRONG_USAGE, LOST_CHANGES = 0, 1, 2, 3
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

log = logging.getLogger("rxddbstream")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    args = parse(sys.argv[1:] if argv is None else argv)
    if args.verbose:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        log.setLevel(logging.DEBUG)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _COMMANDS[args.command](args)
    except KeyboardInterrupt:
        return _interrupted(INTERRUPTED)
    except SystemExit:
        return _interrupted(TERMINATED)
    except BrokenPipeError:  # whoever reads our output has seen enough
        _drop_output()
        return DONE
    except Exception as error:  # noqa: BLE001 - a person gets a sentence, and with -v the rest
        if args.verbose:
            traceback.print_exc()
        text = _in_words(error)
        if isinstance(error, OSError) and _output_fails():
            text = f"standard output: {error.strerror}"
            _drop_output()
        _note(f"rxddbstream: error: {text}")
        return WRONG_USAGE if isinstance(error, ConfigurationError) else FAILED


def _watch(args: Namespace) -> int:
    from reactivex import operators as ops

    import rxddbstream as rxd

    now = datetime.now(UTC)
    position = _position(args.start, now)
    if isinstance(position, AtTime) and now - position.time > RETENTION:
        _note(f"rxddbstream: DynamoDB keeps changes for 24 hours; --start {args.start} is longer ago")
    notes = _Notes(args.verbose)
    stream = rxd.changes(
        args.stream,
        start=position.time if isinstance(position, AtTime) else args.start,
        follow=not args.no_follow,
        checkpoints=rxd.SqliteCheckpoints(args.checkpoint) if args.checkpoint else None,
        on_gap="skip",
        events=notes,
        poll=rxd.Poll(fastest=0.25, slowest=1.0),  # a person is waiting
        region_name=args.region,
        profile_name=args.profile,
        endpoint_url=args.endpoint_url,
    )
    source: Observable[rxd.Change] = stream
    if args.count is not None:
        source = source.pipe(ops.take(args.count))
    print_change = _printer(args.formats or ["record"])
    is_empty = True

    def observe(change: rxd.Change) -> None:
        nonlocal is_empty
        is_empty = False
        print_change(change)

    try:
        rxd.run(source, observe)
    finally:
        if args.verbose:
            log.info(
                "%(records)d changes were read, by %(calls)d calls of GetRecords, %(empty_calls)d of them "
                "empty; %(retries)d calls had to be made again",
                stream.statistics()._asdict(),
            )
    # Changes of the second in which it began can be among the newest.
    if is_empty and args.no_follow and isinstance(position, Latest) and not args.checkpoint:
        _note(
            "rxddbstream: nothing to read: --no-follow reads what was written before; "
            "did you mean --start trim-horizon?"
        )
    return LOST_CHANGES if notes.gaps else DONE


def _demo(args: Namespace) -> int:
    _note("Starting a table in this process")  # which takes a second or more
    from rxddbstream.demo import run_demo

    run_demo(rate=args.rate, count=args.count, events=_Notes(args.verbose))
    return DONE


def _shards(args: Namespace) -> int:
    from rxddbstream.connecting import connect

    try:
        client = connect(
            args.stream,
            now=lambda: datetime.now(UTC),
            region_name=args.region,
            profile_name=args.profile,
            endpoint_url=args.endpoint_url,
        )
        shards = list(_list(client))
    except ConnectionLost as error:
        raise ConnectionLost(f"{error}; {_advice(error)}") from error
    for line in tree(shards):
        print(line, flush=True)
    return DONE


_COMMANDS: dict[str, Callable[[Namespace], int]] = {"watch": _watch, "demo": _demo, "shards": _shards}


def tree(shards: Iterable[Shard]) -> Iterator[str]:
    """A line for each shard, its children below it and further in.

    A shard whose parent is not listed any more stands at the left, and names the parent.

    >>> print(*tree([Shard("b", parent_id="a"), Shard("a", ending_sequence_number="9")]), sep="\\n")
    a  closed
      b  open
    """
    known = {shard.id: shard for shard in shards}
    children: defaultdict[str, list[Shard]] = defaultdict(list)
    for shard in known.values():
        children[shard.parent_id or ""].append(shard)
    roots = [shard for shard in known.values() if shard.parent_id not in known]
    shown = set()
    # All of them after the roots, for those that no root leads to: a ring of parents.
    for root in [*roots, *known.values()]:
        branch = [(root, 0)]
        while branch:
            shard, depth = branch.pop()
            if shard.id in shown:
                continue
            shown.add(shard.id)
            # One that has children takes no more changes, whatever the listing says.
            state = "closed" if shard.is_closed or children[shard.id] else "open"
            is_orphan = shard.parent_id is not None and shard.parent_id not in known
            remark = f"  (parent {shard.parent_id} is not listed)" if is_orphan else ""
            yield f"{'  ' * depth}{shard.id}  {state}{remark}"
            branch += [(child, depth + 1) for child in reversed(children[shard.id])]


def _list(client: StreamClient) -> Iterator[Shard]:
    page = client.list_shards()
    yield from page.shards
    while page.next_shard_id is not None:
        page = client.list_shards(after=page.next_shard_id)
        yield from page.shards


class _Notes:
    """Tells a person on standard error what happens beside the data.

    Args:
        is_logged: the library's log is shown, which tells of retries and losses.
    """

    def __init__(self, is_logged: bool = False) -> None:
        self.gaps = 0
        self._is_logged = is_logged
        self._is_advised = False
        self._retry_told_at = float("-inf")

    def __call__(self, event: Event) -> None:
        match event:
            case ShardOpened(shard, position):
                self._is_advised = True  # it has worked once
                _note(f"Starting watcher for shard: {shard.id}")
                log.info("shard %s is read from %s", shard.id, _place(position))
            case ShardClosed(shard):
                log.info("shard %s was read to its end", shard.id)
            case Checkpointed(positions):
                texts = ", ".join(f"{key}: {text}" for key, text in positions.items())
                log.info("checkpoints were written: %s", texts)
            case Gap(shard_id, _, reason):
                self.gaps += 1
                if not self._is_logged:
                    _note(f"rxddbstream: warning: changes of shard {shard_id} were lost: {reason}")
            case Throttled(_, error, _, delay) | Retrying(_, error, _, delay):
                # Many shards fail together; one line a second tells it.
                if not self._is_logged and time.monotonic() - self._retry_told_at >= 1.0:
                    self._retry_told_at = time.monotonic()
                    when = f"in {delay:.2g} s" if delay >= 0.01 else "at once"
                    _note(f"rxddbstream: {_in_words(error)}; retrying {when}")
                if isinstance(error, ConnectionLost) and not self._is_advised:
                    self._is_advised = True
                    _note(f"rxddbstream: {_advice(error)}; Ctrl-C ends it")


def _printer(formats: Sequence[str]) -> Callable[[Change], None]:
    from rxddbstream import observers

    printers = {
        "record": observers.print_change_record,
        "summary": observers.print_summary,
        "json": observers.print_json,
    }
    chosen = [printer for name, printer in printers.items() if name in formats]

    def print_change(change: Change) -> None:
        for printer in chosen:
            printer(change)
        if change.frontier is not None:
            change.frontier.acknowledge()  # -n ends the stream from inside the last one's on_next

    return print_change


def _position(text: str, now: datetime) -> Position:
    """What people type: a time without an offset is local time."""
    start: str | datetime = text
    with contextlib.suppress(ValueError):
        start = datetime.fromisoformat(text)
    try:
        if isinstance(start, datetime) and start.tzinfo is None:
            start = start.astimezone()
        return resolve(start, now)
    except ConfigurationError as error:
        reason = re.sub(r"^.*?(?= is not | lies )", "", str(error))
    except (ValueError, OverflowError):  # of a date's local time
        reason = " lies beyond the calendar"
    raise ConfigurationError(f"--start {shlex.quote(text)}{reason}")


def _place(position: Position) -> str:
    match position:
        case Latest():
            return "its newest change on"
        case TrimHorizon():
            return "its oldest change on"
        case AtTime(time):
            return time.isoformat()
        case After(sequence_number):
            return f"after {sequence_number}"


def _advice(error: ConnectionLost) -> str:
    from rxddbstream.connecting import unknown_region

    check = "check --region, --endpoint-url and the network"
    unknown = unknown_region(str(error))
    return f"{unknown} {check.capitalize()}" if unknown else check


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _in_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    # What the library raises speaks for itself; "'x'" of a KeyError does not.
    return text if isinstance(error, (StreamError, OSError)) else f"{type(error).__name__}: {text}"


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)


def _interrupted(status: int) -> int:
    # A thread that is blocked in a full pipe holds stdout's lock, which Python would wait for at its end.
    if any(thread.name.startswith("rxddbstream-worker") for thread in threading.enumerate()):
        os._exit(status)
    return status


def _output_fails() -> bool:
    try:
        sys.stdout.flush()  # what could not be written is still there
    except OSError:
        return True
    return False


def _drop_output() -> None:
    # What is left in the buffer cannot be written either, and Python would try at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
