"""Which streams of a table were read, as a store keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rxddbstream as rxd
from rxddbstream.checkpoints.codec import from_texts
from rxddbstream.checkpoints.streams import Earlier, leave_stream, streams_before
from rxddbstream.errors import CheckpointError, TransientError
from rxddbstream.protocol.beginning import Kept

TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
FIRST, SECOND, THIRD = (f"{TABLE}/stream/2026-01-0{day}T12:00:00.000" for day in (1, 2, 3))


def nothing() -> list[str]:
    return []


def test_the_first_stream_that_is_read_has_none_before_it():
    store = rxd.MemoryCheckpoints()

    assert streams_before(store, SECOND, lambda: pytest.fail("nothing to look for")) == []
    # One that is older than all that were read is none that the consumer has missed.
    assert streams_before(store, THIRD, lambda: [FIRST, SECOND, THIRD]) == [Earlier(SECOND, False)]


def test_one_that_came_and_went_unread_is_among_them_and_the_service_is_asked_once():
    store = rxd.MemoryCheckpoints()
    streams_before(store, FIRST, nothing)
    leave_stream(store, FIRST)

    for listed in (lambda: [THIRD, FIRST, SECOND], lambda: pytest.fail("it was asked before")):
        assert streams_before(store, THIRD, listed) == [Earlier(FIRST, True), Earlier(SECOND, False)]


def test_an_older_stream_than_the_last_one_has_only_those_before_itself():
    store = rxd.MemoryCheckpoints()
    for arn in (FIRST, THIRD):
        streams_before(store, arn, nothing)

    assert streams_before(store, SECOND, nothing) == [Earlier(FIRST, False)]


def test_tables_and_their_streams_are_kept_apart(path: Path):
    store = rxd.SqliteCheckpoints(path)
    streams_before(store, FIRST, nothing)

    assert streams_before(store, THIRD.replace("orders", "orders-2"), nothing) == []
    texts = store.load(FIRST)
    store.close(FIRST)
    assert texts == {}


def test_what_is_kept_of_a_tables_streams_is_no_position():
    # In a store that does not look at the stream's name it lies among them.
    assert from_texts({"*stream 2026-01-01T12:00:00.000": "2 SHARD_END"}) == Kept()


class Looking(rxd.MemoryCheckpoints):
    """Is asked once more while it is asked."""

    def load(self, stream: str) -> Any:
        with pytest.raises(TransientError, match="looking up which streams"):
            streams_before(self, FIRST, nothing)
        return super().load(stream)


def test_one_subscription_at_a_time_looks_them_up():
    assert streams_before(Looking(), FIRST, nothing) == []


def test_the_store_is_closed_whatever_goes_wrong():
    closed = []

    class Full(rxd.MemoryCheckpoints):
        def save(self, stream: str, positions: Any) -> None:
            raise OSError("disk full")

        def close(self, stream: str) -> None:
            closed.append(stream)

    with pytest.raises(CheckpointError, match="the checkpoint store failed: OSError: disk full"):
        streams_before(Full(), FIRST, nothing)
    assert closed == [f"{TABLE}/streams"]


def test_a_file_that_another_subscription_looks_into_is_waited_for(path: Path):
    one, other = rxd.SqliteCheckpoints(path), rxd.SqliteCheckpoints(path)
    one.load(f"{TABLE}/streams")

    with pytest.raises(TransientError, match="is in use"):
        streams_before(other, FIRST, nothing)
    one.close(f"{TABLE}/streams")
    assert streams_before(other, FIRST, nothing) == []
