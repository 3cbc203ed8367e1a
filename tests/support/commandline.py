"""The command line as a person has it: a process on moto's tables, its two outputs and its exit status.

`start` and `run` give it pipes, `Terminal` a pseudo-terminal.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from typing import Any, Self

import boto3
from support.waiting import PATIENCE

WHOLE = ("--start", "trim-horizon", "--no-follow")
ZONE = timezone(timedelta(hours=2))
ENVIRONMENT_OF_A_TERMINAL = {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
ZONE_VARIABLE = {"TZ": "XYZ-2"}  # the same zone, as POSIX writes it
NAMES = (f"table-{number}" for number in itertools.count(1))


@dataclass
class Table:
    """A table on moto, with a stream unless told otherwise."""

    endpoint: str
    has_stream: bool = True
    name: str = field(default_factory=lambda: next(NAMES))

    def __post_init__(self) -> None:
        self.client: Any = boto3.client("dynamodb", endpoint_url=self.endpoint)
        self.streams: Any = boto3.client("dynamodbstreams", endpoint_url=self.endpoint)
        keys = (("PK", "HASH"), ("SK", "RANGE"))
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        self.client.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            BillingMode="PAY_PER_REQUEST",
            **({"StreamSpecification": stream} if self.has_stream else {}),
        )

    def put(self, **attributes: dict[str, Any]) -> None:
        self.client.put_item(TableName=self.name, Item={**self.key(), **attributes})

    def delete(self) -> None:
        self.client.delete_item(TableName=self.name, Key=self.key())

    def key(self) -> dict[str, Any]:
        return {"PK": {"S": "test"}, "SK": {"S": "item"}}

    @property
    def arn(self) -> str:
        arn: str = self.client.describe_table(TableName=self.name)["Table"]["LatestStreamArn"]
        return arn

    def shard_id(self) -> str:
        [shard] = self.streams.describe_stream(StreamArn=self.arn)["StreamDescription"]["Shards"]
        shard_id: str = shard["ShardId"]
        return shard_id

    def records(self) -> list[dict[str, Any]]:
        """What boto3 returns for its stream."""
        iterator = self.streams.get_shard_iterator(
            StreamArn=self.arn, ShardId=self.shard_id(), ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records: list[dict[str, Any]] = self.streams.get_records(ShardIterator=iterator)["Records"]
        return records


def start(*arguments: str, without: tuple[str, ...] = (), **settings: str) -> subprocess.Popen[str]:
    # Without PYTHONUNBUFFERED: that lines are flushed is to be seen.
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONUNBUFFERED", *without)}
    return subprocess.Popen(
        [sys.executable, "-m", "rxddbstream", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env | ZONE_VARIABLE | settings,
    )


def run(*arguments: str, without: tuple[str, ...] = (), **settings: str) -> tuple[int, list[str], str]:
    """Exit status, lines of standard output, standard error."""
    with start(*arguments, without=without, **settings) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out.splitlines(), err


class Terminal:
    """The command on a pseudo-terminal of its own, in a `with` block.

    Args:
        arguments: the command's.
        columns, rows: the terminal's size.
        stdout: a file to write standard output to, in place of the terminal.
        settings: variables of its environment.

    Attributes:
        process: the process.
        screen: all that it has written so far, escape sequences included.
    """

    def __init__(
        self, *arguments: str, columns: int = 100, rows: int = 30, stdout: Any = None, **settings: str
    ) -> None:
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        hidden = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED")
        env = {name: value for name, value in os.environ.items() if name not in hidden}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rxddbstream", *arguments],
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            env=env | ENVIRONMENT_OF_A_TERMINAL | ZONE_VARIABLE | settings,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that what is typed is for it
        )
        os.close(slave)
        self.screen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def wait_for(self, is_there: str | Callable[[Self], bool]) -> None:
        """Until it has written a text, or a function of the terminal is true."""
        until = time.monotonic() + PATIENCE
        while not (is_there(self) if callable(is_there) else is_there in self.screen):
            assert time.monotonic() < until, self.screen
            self._read(0.1)

    def wait(self) -> int:
        """Until it ends; its exit status."""
        until = time.monotonic() + PATIENCE
        while self._read(0.2) or self.process.poll() is None:
            assert time.monotonic() < until, self.screen
        return self.process.returncode

    def end(self, number: int | None = None) -> int:
        """End it by a signal, or by Ctrl-C, which a person types; its exit status."""
        if number is None:
            os.write(self._master, b"\x03")
        else:
            self.process.send_signal(number)
        return self.wait()

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; its process hears of it."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def text(self) -> str:
        """What it has written, without escape sequences."""
        return plain(self.screen).replace("\r", "")

    @property
    def has_its_cursor(self) -> bool:
        """Whether the cursor was hidden, and is shown again."""
        return self.screen.rfind("\x1b[?25h") > self.screen.rfind("\x1b[?25l") > -1

    def _read(self, seconds: float) -> bool:
        """Take what there is; whether there was something."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            self.screen += os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # Linux's way of telling the end
            return False
        return True


def plain(text: str) -> str:
    """A text without escape sequences."""
    return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)
