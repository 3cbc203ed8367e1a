"""The option `--checkpoint`."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support.checkpoint_files import (
    contents,
    foreign_database,
    text_file,
    truncated,
    truncated_in_its_last_page,
)
from support.checkpoints import STREAM
from support.commandline import Table, run

import rxddbstream as rxd

pytestmark = pytest.mark.system

Command = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "positions.db"


@pytest.fixture
def command(own_table: Table, path: Path) -> Command:
    """Reads a table with checkpoints in the file, as far as options say."""
    words = (own_table.name, "-o", "json", "--checkpoint", str(path), "--start", "trim-horizon")
    return partial(run, *words, "--endpoint-url", own_table.endpoint)


def printed(command: Command, *options: str) -> str:
    status, out, err = command(*options)
    assert status == 0, err
    return "".join(json.loads(line)["new_image"]["letter"] for line in out)


def test_the_command_line_goes_on_exactly_where_it_stopped(
    own_table: Table, command: Command, path: Path
) -> None:
    def write(letters: str) -> None:
        for letter in letters:
            own_table.put(letter={"S": letter})

    write("abcdefghij")
    # -n ends it in the middle of a page, and --no-follow at the end of what there is.
    assert [printed(command, "-n", "4") for _ in range(2)] == ["abcd", "efgh"]
    assert printed(command, "--no-follow") == "ij"
    assert printed(command, "--no-follow") == ""
    write("kl")
    assert printed(command, "--no-follow") == "kl"
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_command_line_says_that_the_file_is_in_use(command: Command, path: Path) -> None:
    store = rxd.SqliteCheckpoints(path)
    store.load(STREAM)
    status, out, err = command("-n", "1")
    store.close(STREAM)
    assert (status, out) == (1, [])
    [line] = err.splitlines()
    assert line.startswith(f"rxddbstream: error: checkpoint file {path} is in use by another consumer")


@pytest.mark.parametrize("spoil", [text_file, truncated, truncated_in_its_last_page, foreign_database])
def test_the_command_line_says_that_the_file_is_not_good(
    command: Command, path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(path)
    before = contents(path.parent)
    status, out, err = command("-n", "1")
    assert (status, out) == (1, [])
    [line] = err.splitlines()
    assert line.startswith("rxddbstream: error: ")
    assert str(path) in line
    assert "ame another file" in line
    assert contents(path.parent) == before
