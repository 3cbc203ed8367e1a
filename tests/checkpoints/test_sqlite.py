"""SQLite: the file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from support.checkpoint_files import OPEN, SAVE_AND_STAY, UNREADABLE, contents, used
from support.checkpoints import FIRST, OTHER, SECOND, STREAM
from support.interleaving import at_once
from support.waiting import PATIENCE

import rxddbstream as rxd
from rxddbstream.errors import CheckpointError, CheckpointLocked, CheckpointUnreadable


def load_in_another_process(path: Path) -> str:
    """What it is told: the last line of its standard error."""
    command = [sys.executable, "-c", OPEN, str(path), STREAM]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    return (ended.stderr.splitlines() or [""])[-1]


def test_the_file_is_its_owners_alone_and_in_wal_mode(store, path):
    # A umask of 0 is the worst case, and what daemons have.
    old = os.umask(0)
    try:
        used(path.with_name("umask.db"))
    finally:
        os.umask(old)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert "positions.db-wal" in modes
    store.close(STREAM)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_each_write_is_synced(store):
    assert store._files[STREAM].connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_second_consumer_in_this_process_is_refused(store, path):
    with pytest.raises(CheckpointLocked, match=r"positions\.db is in use by another consumer; one file is"):
        rxd.SqliteCheckpoints(path).load(STREAM)
    with pytest.raises(CheckpointLocked, match="Stop the other one, or name another file"):
        store.load(STREAM)
    store.save(STREAM, {"shard-1": SECOND})
    store.close(STREAM)
    assert rxd.SqliteCheckpoints(path).load(STREAM) == {"shard-1": SECOND}


@pytest.mark.parametrize("one_object", [True, False])
def test_two_streams_in_one_process_share_a_file(store, path, one_object):
    other = store if one_object else rxd.SqliteCheckpoints(path)
    assert other.load(OTHER) == {}
    other.save(OTHER, {"shard-1": SECOND})
    store.close(STREAM)
    other.save(OTHER, {"shard-2": SECOND})
    with pytest.raises(CheckpointError, match="is not open"):
        store.save(STREAM, {"shard-1": SECOND})
    with pytest.raises(CheckpointLocked):
        rxd.SqliteCheckpoints(path).load(OTHER)
    other.close(OTHER)
    assert contents(path.parent).keys() == {path.name}  # the last one has closed it
    assert store.load(STREAM) == {"shard-1": FIRST}
    assert store.load(OTHER) == dict.fromkeys(["shard-1", "shard-2"], SECOND)
    store.close(OTHER)


def test_two_streams_of_one_file_that_are_opened_at_once(path):
    def make():
        one, other = (rxd.SqliteCheckpoints(path) for _ in range(2))

        def check():
            for store, stream in (one, STREAM), (other, OTHER):
                store.save(stream, {"shard-1": FIRST})
                store.close(stream)

        return lambda: one.load(STREAM), lambda: other.load(OTHER), check

    at_once(make, within="_File.")


@pytest.mark.parametrize("first", ["open", "close"])
def test_a_stream_that_is_opened_while_the_only_other_one_of_the_file_is_closed(path, first):
    def make():
        one, other = (rxd.SqliteCheckpoints(path) for _ in range(2))
        one.load(STREAM)

        def check():
            other.save(OTHER, {"shard-1": FIRST})
            other.close(OTHER)

        sides = (lambda: other.load(OTHER)), (lambda: one.close(STREAM))
        return *(sides if first == "open" else reversed(sides)), check

    at_once(make, within="_File.")


def test_a_write_of_one_stream_that_fails_takes_nothing_from_one_of_another_at_that_moment(path):
    def make():
        store = rxd.SqliteCheckpoints(path)
        store.load(STREAM), store.load(OTHER)
        store.forget(STREAM, ["shard-1"])

        def fail():
            with pytest.raises(CheckpointUnreadable, match="NOT NULL"):
                store.save(OTHER, {"shard-1": None})

        def check():
            store.close(STREAM), store.close(OTHER)
            assert store.load(STREAM) == {"shard-1": FIRST}
            store.close(STREAM)

        return lambda: store.save(STREAM, {"shard-1": FIRST}), fail, check

    at_once(make, within="SqliteCheckpoints._write")


@pytest.mark.system
def test_a_second_consumer_in_another_process_is_refused(store, path):
    assert "CheckpointLocked: checkpoint file" in load_in_another_process(path)
    store.save(STREAM, {"shard-1": SECOND})
    store.close(STREAM)
    assert load_in_another_process(path) == ""


@pytest.mark.system
def test_whoever_is_refused_does_not_unlock_the_file(store, path):
    # A process that closes a file loses its locks on it, those of its other connections, too.
    with pytest.raises(CheckpointLocked):
        rxd.SqliteCheckpoints(path).load(STREAM)
    assert "CheckpointLocked" in load_in_another_process(path)


def test_a_file_reached_by_another_name_is_the_same_file(store, path):
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(CheckpointLocked):
        rxd.SqliteCheckpoints(link).load(STREAM)


@pytest.mark.system
def test_a_killed_process_leaves_no_lock_and_loses_nothing(path):
    command = [sys.executable, "-c", SAVE_AND_STAY, str(path), STREAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "saved\n"
        with pytest.raises(CheckpointLocked):
            rxd.SqliteCheckpoints(path).load(STREAM)
        process.send_signal(signal.SIGKILL)
    assert path.with_name("positions.db-wal").exists()
    store = rxd.SqliteCheckpoints(path)
    assert store.load(STREAM) == {"shard-1": "1 X"}
    store.close(STREAM)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_was_made_and_never_written_is_as_good_as_none(path):
    path.touch()
    assert used(path).stat().st_size


@pytest.mark.parametrize("spoil", UNREADABLE)
def test_a_file_that_is_damaged_or_not_ours_is_refused_and_left_as_it_is(path, spoil):
    spoil(path)
    before = contents(path.parent)
    for _ in range(2):
        with pytest.raises(CheckpointUnreadable) as caught:
            rxd.SqliteCheckpoints(path).load(STREAM)
        assert str(path) in str(caught.value)
        assert "it was left as it is" in str(caught.value)
        assert "ame another file" in str(caught.value)
    assert contents(path.parent) == before


@pytest.mark.system
def test_a_page_that_was_cut_by_a_crash_is_mended(path):
    script = f"{SAVE_AND_STAY.partition('print')[0]} import os; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script, str(path), STREAM])
    assert path.with_name(f"{path.name}-wal").stat().st_size
    with open(path, "ab") as file:
        file.write(b"x" * 100)
    assert rxd.SqliteCheckpoints(path).load(STREAM) == {"shard-1": "1 X"}


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=f"{tmp_path} is not a file"):
        rxd.SqliteCheckpoints(tmp_path).load(STREAM)


def test_a_missing_directory_is_named(tmp_path):
    missing = tmp_path / "nowhere" / "positions.db"
    with pytest.raises(CheckpointError, match=rf"{missing}: No such file or directory"):
        rxd.SqliteCheckpoints(missing).load(STREAM)
    assert list(tmp_path.iterdir()) == []


def load_as_nobody(path: Path) -> str:
    """What one who is not root is told."""
    if os.getuid() != 0:
        with pytest.raises(CheckpointError) as caught:
            rxd.SqliteCheckpoints(path).load(STREAM)
        return str(caught.value)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(65534)
            rxd.SqliteCheckpoints(path).load(STREAM)
        except CheckpointError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    with open(reader) as pipe:
        return pipe.read()


@pytest.mark.system
@pytest.mark.skipif(not hasattr(os, "fork"), reason="of POSIX")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork in a process with threads
def test_a_file_that_may_only_be_read_is_left_as_it_is():
    with tempfile.TemporaryDirectory() as directory:
        path = used(Path(directory) / "positions.db")
        before = contents(path.parent)
        path.parent.chmod(0o777)
        path.chmod(0o444)
        assert load_as_nobody(path) == f"checkpoint file {path} may not be read and written by this user"
        path.chmod(0o666)
        path.parent.chmod(0o555)  # the WAL file cannot be made
        assert load_as_nobody(path).startswith(f"checkpoint file {path}: ")
        assert "Permission denied" in load_as_nobody(path.with_name("new.db"))
        path.parent.chmod(0o755)
        assert contents(path.parent) == before


@pytest.mark.skipif(os.name != "posix", reason="of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_the_mode_of_a_file_that_is_there_is_its_owners_to_choose(path, mode):
    used(path)
    path.chmod(mode)
    store = rxd.SqliteCheckpoints(path)
    store.load(STREAM)
    store.save(STREAM, {"shard-1": FIRST})
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    store.close(STREAM)
    assert modes == {"positions.db": mode, "positions.db-wal": mode}


@pytest.mark.skipif(os.name != "posix", reason="of POSIX")
def test_the_file_is_never_there_with_another_mode(path, monkeypatch):
    # SQLite would make it, readable by everybody, and leave what is there already.
    found = []
    connect = sqlite3.connect

    def looking(*arguments, **options):
        found.append(path.stat().st_mode & 0o777)
        return connect(*arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", looking)
    old = os.umask(0)
    try:
        used(path)
    finally:
        os.umask(old)
    assert set(found) == {0o600}


def test_a_store_that_is_not_open_says_so(path):
    with pytest.raises(CheckpointError, match="is not open"):
        rxd.SqliteCheckpoints(path).save(STREAM, {"shard-1": FIRST})
    rxd.SqliteCheckpoints(path).close(STREAM)
    assert not path.exists()
