"""Which streams of a table a consumer has read: one that is disabled and enabled again has a new ARN.

They are kept in the store as if they were positions of a stream named `TABLE_ARN/streams`, each under the key
`*stream LABEL`. The label of a stream is the time at which it was enabled:
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamDescription.html

    0 TRIM_HORIZON    it was begun
    2 SHARD_END       nothing of it is left to read, or its loss was told
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from rxddbstream.checkpoints.codec import SHARD_END, STREAM, to_text
from rxddbstream.checkpoints.store import CheckpointStore, InUseHere
from rxddbstream.errors import CheckpointError, StreamError, TransientError
from rxddbstream.model.position import TrimHorizon

_BEGUN = to_text(TrimHorizon())

_visited: set[tuple[int, str]] = set()  # stores of this process, by the object and the table
_visited_lock = threading.Lock()


class Earlier(NamedTuple):
    """A stream of the table that the consumer has read before this one.

    Attributes:
        arn: its ARN.
        is_over: whether nothing of it is left to read.
    """

    arn: str
    is_over: bool


def streams_before(store: CheckpointStore, arn: str, listed: Callable[[], Collection[str]]) -> list[Earlier]:
    """The streams of the same table that came before, since the first that was read; oldest first.

    This one is kept as begun, and so are those that came and went since the last run.

    Args:
        listed: asks the service for the ARNs of all streams of the table that it still has.

    Raises:
        CheckpointError: the store cannot be read or written.
        TransientError: the same in passing.
    """
    table, _, label = arn.rpartition("/stream/")
    with _visiting(store, table) as texts:
        kept = {key.removeprefix(STREAM): text for key, text in texts.items() if key.startswith(STREAM)}
        if label not in kept:
            missed = {each.rpartition("/")[2] for each in listed()} if kept else set()
            new = {each for each in missed if min(kept) < each < label and each not in kept} | {label}
            store.save(_name(table), {STREAM + each: _BEGUN for each in sorted(new)})
            kept |= dict.fromkeys(new, _BEGUN)
    before = sorted(each for each in kept if each < label)
    return [Earlier(f"{table}/stream/{each}", kept[each] == SHARD_END) for each in before]


def leave_stream(store: CheckpointStore, arn: str) -> None:
    """Nothing of this stream is left to read, or its loss was told.

    Raises:
        CheckpointError: it cannot be written.
        TransientError: the same in passing.
    """
    table, _, label = arn.rpartition("/stream/")
    with _visiting(store, table):
        store.save(_name(table), {STREAM + label: SHARD_END})


def _name(table: str) -> str:
    return f"{table}/streams"


@contextlib.contextmanager
def _visiting(store: CheckpointStore, table: str) -> Iterator[Mapping[str, str]]:
    """Take the store into use for a moment; the texts that it has."""
    with _alone(store, table), _explained():
        try:
            texts = store.load(_name(table))
        except InUseHere as error:  # for a moment, too
            raise TransientError(str(error)) from error
        try:
            yield texts
        finally:
            store.close(_name(table))


@contextlib.contextmanager
def _alone(store: CheckpointStore, table: str) -> Iterator[None]:
    key = id(store), table
    with _visited_lock:
        if key in _visited:
            raise TransientError(f"another subscription is looking up which streams of {table} were read")
        _visited.add(key)
    try:
        yield
    finally:
        with _visited_lock:
            _visited.discard(key)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except StreamError:
        raise
    except Exception as error:
        raise CheckpointError(f"the checkpoint store failed: {type(error).__name__}: {error}") from error
