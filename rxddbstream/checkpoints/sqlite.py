"""Positions in a SQLite file."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar
from weakref import WeakValueDictionary

from rxddbstream.checkpoints.store import COUNT, PERIOD, InUseHere
from rxddbstream.errors import CheckpointError, CheckpointLocked, CheckpointUnreadable

# "rxdb" in ASCII: marks the file as ours. https://www.sqlite.org/pragma.html#pragma_application_id
_APPLICATION_ID = 0x72786462
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS checkpoint (
        stream TEXT NOT NULL, shard TEXT NOT NULL, position TEXT NOT NULL, PRIMARY KEY (stream, shard)
    ) WITHOUT ROWID
"""
_SAVE = """
    INSERT INTO checkpoint (stream, shard, position) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET position = excluded.position WHERE excluded.position > position
"""


class SqliteCheckpoints:
    """Keeps positions in a SQLite file, which survives a crash of the process and of the machine.

    The file is made when it is not there, readable by its owner alone. It is locked while a subscription
    uses it: one file is for one process, and each stream in it for one subscription at a time. Use a file on
    a local disk.

    Args:
        path: the file.
        period: seconds between two writes, at most.
        count: changes between two writes, at most.

    Errors at on_error:
        CheckpointLocked: another process uses the file, or another subscription to the stream.
        CheckpointUnreadable: the file is damaged, or not one of ours; it is left as it is.
    """

    def __init__(self, path: str | os.PathLike[str], *, period: float = PERIOD, count: int = COUNT) -> None:
        self.period = period
        self.count = count
        self._path = Path(path)
        self._files: dict[str, _File] = {}  # by the stream for which this object uses one

    def load(self, stream: str) -> Mapping[str, str]:
        with self._explained():
            file = _File.use(self._path, stream)
            try:
                with file.lock:
                    rows = file.connection.execute(
                        "SELECT shard, position FROM checkpoint WHERE stream = ?", (stream,)
                    ).fetchall()
            except BaseException:
                file.leave(stream)
                raise
            self._files[stream] = file
            return dict(rows)

    def save(self, stream: str, positions: Mapping[str, str]) -> None:
        rows = [(stream, shard_id, position) for shard_id, position in positions.items()]
        self._write(stream, _SAVE, rows)

    def forget(self, stream: str, shard_ids: Collection[str]) -> None:
        rows = [(stream, shard_id) for shard_id in shard_ids]
        self._write(stream, "DELETE FROM checkpoint WHERE stream = ? AND shard = ?", rows)

    def close(self, stream: str) -> None:
        file = self._files.pop(stream, None)
        if file is not None and not file.is_of_another_process:
            file.leave(stream)

    def _write(self, stream: str, statement: str, rows: Sequence[tuple[str, ...]]) -> None:
        file = self._files.get(stream)
        if file is None or file.is_of_another_process:
            raise CheckpointError(f"checkpoint file {self._path} is not open")
        with file.lock, self._explained(), file.connection:  # one transaction: all of it, or nothing
            file.connection.executemany(statement, rows)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            # The lowest byte; above it is told what exactly was busy.
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise CheckpointLocked(_locked(self._path)) from error
            raise CheckpointError(f"checkpoint file {self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise CheckpointUnreadable(
                f"checkpoint file {self._path} is damaged, or not a file of rxddbstream ({error}); "
                "it was left as it is. Name another file, or move this one away to begin anew"
            ) from error
        except OSError as error:
            raise CheckpointError(f"checkpoint file {self._path}: {error.strerror or error}") from error


class _File:
    """A file that is open in this process, by one connection, for whoever uses it for a stream.

    SQLite forbids to take a connection across a fork: https://www.sqlite.org/howtocorrupt.html#_carrying_an_
    open_database_file_across_a_fork_. A child that only closed it would write the WAL file into the database,
    and delete it, while the parent goes on to write there. So in a child it is never closed.
    """

    # Weak: a store that is dropped unclosed takes its connection, and so the lock, with it.
    _opened: ClassVar[WeakValueDictionary[tuple[int, str], _File]] = WeakValueDictionary()
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, key: tuple[int, str], path: Path) -> None:
        self._key = key
        self._process = os.getpid()
        self._streams: set[str] = set()
        self.lock = threading.Lock()
        self.connection = _open(path)
        # A text that is damaged is left to whoever understands positions.
        self.connection.text_factory = lambda text: text.decode(errors="replace")

    @classmethod
    def use(cls, path: Path, stream: str) -> _File:
        """Open the file, unless it is; and take the stream in it.

        Raises:
            CheckpointLocked: somebody has it.
        """
        key = os.getpid(), os.path.realpath(path)
        with cls._opening:
            file = cls._opened.get(key) or cls(key, path)
            cls._opened[key] = file
            if stream in file._streams:
                raise InUseHere(_locked(path))
            file._streams.add(stream)
            return file

    @classmethod
    def leave_to_the_parent(cls) -> None:
        """In a child that was forked: use none of the files, nor close them."""
        for file in list(cls._opened.values()):
            # A reference that nobody takes back, or the interpreter's exit would close it.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(file.connection))
        cls._opened = WeakValueDictionary()
        cls._opening = threading.Lock()  # another thread, which is not here, may have had it

    @property
    def is_of_another_process(self) -> bool:
        """Whether the process was forked since."""
        return os.getpid() != self._process

    def leave(self, stream: str) -> None:
        """Let others use the stream; close the file, if this was the last one."""
        with self._opening, self.lock:
            self._streams.discard(stream)
            if not self._streams:
                self._opened.pop(self._key, None)
                self.connection.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_File.leave_to_the_parent)


def _open(path: Path) -> sqlite3.Connection:
    _create(path)
    _check(path)
    connection = sqlite3.connect(path, timeout=0.5, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # In WAL mode NORMAL may lose the last commits when the machine loses power, and nothing else;
        # FULL syncs each commit, and one every few seconds costs nothing.
        connection.execute("PRAGMA synchronous = FULL")
        if sys.version_info >= (3, 12):  # a file that is refused is left as it is, with what a crash left
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        with connection:
            connection.execute("BEGIN EXCLUSIVE")
            _check_contents(connection)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(_SCHEMA)
        # After that, so that the mark is in the file itself, where `_check` looks for it.
        connection.execute("PRAGMA journal_mode = WAL")
        if sys.version_info >= (3, 12):
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, False)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    # Not left to SQLite, which would make it readable by everybody. And never opened where it is there
    # already: closing it would take this process's locks off it, those of another connection.
    # https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
    if path.exists():
        if not path.is_file():
            raise CheckpointError(f"checkpoint file {path} is not a file")
        if not os.access(path, os.R_OK | os.W_OK):
            raise CheckpointError(f"checkpoint file {path} may not be read and written by this user")
    else:
        with contextlib.suppress(FileExistsError):  # another consumer was first
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _check(path: Path) -> None:
    # Immutable: no lock is taken and no byte is changed, not even to tidy up after a crash.
    size = path.stat().st_size
    uri = f"{path.absolute().as_uri()}?immutable=1"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    if application_id != _APPLICATION_ID and size:
        raise CheckpointUnreadable(
            f"{path} is a SQLite database of another program; it was left as it is. Name another file"
        )
    # SQLite takes a last page that was cut for one that ends in zeros. A crash can cut it, too; then
    # there is a journal to mend it with.
    if size % page_size and not any(map(_has_content, (f"{path}-wal", f"{path}-journal"))):
        raise sqlite3.DatabaseError("the file was cut short")


def _check_contents(connection: sqlite3.Connection) -> None:
    [result, *_] = [text for (text,) in connection.execute("PRAGMA quick_check(1)")]
    if result != "ok":
        raise sqlite3.DatabaseError(result)
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'checkpoint'").fetchone():
        odd = "typeof(stream) <> 'text' OR typeof(shard) <> 'text' OR position IS NULL"
        if connection.execute(f"SELECT 1 FROM checkpoint WHERE {odd} LIMIT 1").fetchone():
            raise sqlite3.DatabaseError("a row is not a position of a shard")


def _has_content(path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.getsize(path) > 0
    return False


def _locked(path: Path) -> str:
    return (
        f"checkpoint file {path} is in use by another consumer; one file is for one process, and for one "
        "subscription to each stream. Stop the other one, or name another file"
    )
