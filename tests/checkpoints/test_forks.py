"""A store that is in use belongs to the process that uses it: a child that was forked leaves it alone."""

from __future__ import annotations

import gc
import os
import shutil
import threading

import pytest
from support.checkpoints import (
    FIRST,
    NOW,
    SECOND,
    STREAM,
    TABLE,
    THIRD,
    Own,
    dynamodb_store,
    ready,
    writer_of,
)
from support.forking import forks, in_a_child

import rxddbstream as rxd
from rxddbstream.checkpoints.sqlite import _File
from rxddbstream.errors import CheckpointError, TransientError
from rxddbstream.model.position import TrimHorizon


@pytest.fixture
def in_child(monkeypatch):
    """From now on, this is another process."""

    def fork():
        pid = os.getpid() + 1
        monkeypatch.setattr(os, "getpid", lambda: pid)

    return fork


def loaded(store, scheduler):
    writer = writer_of(store, scheduler)
    writer.load()
    writer.frontier("shard-1", TrimHorizon(), lambda: NOW)
    return writer


def test_a_childs_dispose_writes_and_closes_nothing(in_child, monkeypatch, scheduler):
    store = Own()
    writer = loaded(store, scheduler)
    in_child()
    monkeypatch.setattr(writer, "_writing", threading.Lock())
    writer._writing.acquire()  # by a thread that is not there
    writer.close()
    with pytest.raises(CheckpointError, match="made before this process was forked"):
        writer.flush()
    assert store.log == ["load"]


def test_a_child_may_subscribe_anew_with_its_copy_of_a_store(in_child, scheduler):
    store = rxd.MemoryCheckpoints()
    loaded(store, scheduler)
    with pytest.raises(TransientError, match="is in use by another subscription"):
        loaded(store, scheduler)
    in_child()
    loaded(store, scheduler)


class TestSqlite:
    pytestmark = forks

    @pytest.mark.parametrize("leave", ["close", "drop"])
    def test_a_child_leaves_the_file_as_it_is(self, store, path, leave):
        def use_in_child():
            if leave == "close":
                store.close(STREAM)
            store._files.clear()
            gc.collect()

        before = path.with_name("positions.db-wal").stat().st_size
        assert in_a_child(use_in_child) == ""
        assert path.with_name("positions.db-wal").stat().st_size == before
        store.save(STREAM, {"shard-1": SECOND})
        # As after a kill -9: what was saved is in the files.
        killed = path.parent / "killed"
        killed.mkdir()
        for name in ("positions.db", "positions.db-wal"):
            shutil.copy(path.with_name(name), killed)
        assert rxd.SqliteCheckpoints(killed / "positions.db").load(STREAM) == {"shard-1": SECOND}

    def test_a_child_can_neither_write_nor_take_what_its_parent_uses(self, store, path):
        assert "is not open" in in_a_child(lambda: store.save(STREAM, {"shard-1": SECOND}))
        assert "is in use by another consumer" in in_a_child(lambda: store.load(STREAM))
        assert "is in use" in in_a_child(lambda: rxd.SqliteCheckpoints(path).load(STREAM))

    def test_a_child_can_use_another_file(self, store, path):
        with _File._opening:  # as another thread may
            told = in_a_child(lambda: rxd.SqliteCheckpoints(path.with_name("other.db")).load(STREAM))
        assert told == ""


def test_a_child_leaves_the_claim_of_a_table(dynamodb, in_child):
    store = dynamodb_store(dynamodb)
    ready(store)
    store.save(STREAM, {"shard-1": FIRST})

    def items():
        return dynamodb.scan(TableName=TABLE)["Items"]

    before = items()
    in_child()
    with pytest.raises(CheckpointError, match="is not open"):
        store.save(STREAM, {"shard-1": THIRD})
    store.close(STREAM)
    assert items() == before
    with pytest.raises(TransientError, match="was claimed by another process"):
        store.load(STREAM)
