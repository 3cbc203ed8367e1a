"""Checkpoint files: one that was used, and all that can be wrong with one."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.checkpoints import STREAM

import rxddbstream as rxd
from rxddbstream.checkpoints.codec import to_text
from rxddbstream.model.position import After

OPEN = "import sys, rxddbstream as rxd; store = rxd.SqliteCheckpoints(sys.argv[1]); store.load(sys.argv[2])"
SAVE_AND_STAY = (
    f"{OPEN}; store.save(sys.argv[2], {{'shard-1': '1 X'}}); print('saved', flush=True); sys.stdin.read()"
)


def used(path: Path, count: int = 3) -> Path:
    """A file that a consumer has used and left."""
    store = rxd.SqliteCheckpoints(path)
    store.load(STREAM)
    store.save(STREAM, {f"shardId-{number:020}": to_text(After("1" * 21)) for number in range(count)})
    store.close(STREAM)
    return path


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def text_file(path: Path) -> None:
    path.write_text("dear diary\n")


def one_byte(path: Path) -> None:
    path.write_bytes(b"x")


def long_text_file(path: Path) -> None:
    path.write_text("dear diary\n" * 10_000)


def garbled(path: Path) -> None:
    data = bytearray(used(path, 300).read_bytes())
    data[100:] = b"\xa5" * (len(data) - 100)
    path.write_bytes(data)


def garbled_head(path: Path) -> None:
    data = used(path).read_bytes()
    path.write_bytes(b"\0" * 100 + data[100:])


def truncated(path: Path) -> None:
    path.write_bytes(used(path, 300).read_bytes()[:6000])


def truncated_in_its_last_page(path: Path) -> None:
    with open(used(path), "r+b") as file:
        file.truncate(5000)


def without_its_last_byte(path: Path) -> None:
    path.write_bytes(used(path).read_bytes()[:-1])


def zeroed_in_its_last_page(path: Path) -> None:
    data = used(path).read_bytes()
    path.write_bytes(data[:5000] + b"\0" * (len(data) - 5000))


def a_row_without_a_name(path: Path) -> None:
    with closing(sqlite3.connect(used(path))) as connection, connection:
        connection.execute("INSERT INTO checkpoint VALUES (x'00', x'00', '1 X')")


def left_by_a_crash_and_damaged(path: Path) -> None:
    script = f"{SAVE_AND_STAY.partition('print')[0]} import os; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script, str(used(path, 300)), STREAM])
    assert path.with_name(f"{path.name}-wal").stat().st_size
    data = path.read_bytes()
    path.write_bytes(data[:12_000] + b"\xa5" * (len(data) - 12_000))


def truncated_in_its_first_page(path: Path) -> None:
    path.write_bytes(used(path).read_bytes()[:1000])


def truncated_in_its_head(path: Path) -> None:
    path.write_bytes(used(path).read_bytes()[:50])


def foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE diary (day TEXT)")


def foreign_database_that_is_empty(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")


def foreign_database_left_by_a_crash(path: Path) -> None:
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode = WAL');"
        "c.execute('CREATE TABLE diary (day TEXT)'); c.commit(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)])
    assert path.with_name(f"{path.name}-wal").stat().st_size


UNREADABLE = [
    text_file,
    one_byte,
    long_text_file,
    garbled,
    garbled_head,
    truncated,
    truncated_in_its_last_page,
    without_its_last_byte,
    zeroed_in_its_last_page,
    a_row_without_a_name,
    pytest.param(
        left_by_a_crash_and_damaged,
        marks=[
            pytest.mark.system,
            pytest.mark.skipif(sys.version_info < (3, 12), reason="SQLite folds the journal in"),
        ],
    ),
    truncated_in_its_first_page,
    truncated_in_its_head,
    foreign_database,
    foreign_database_that_is_empty,
    pytest.param(foreign_database_left_by_a_crash, marks=pytest.mark.system),
]
