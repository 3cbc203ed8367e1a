"""The command line as a person has it: a process on moto's tables, its two outputs and its exit status.

`start` and `run` give it pipes, `on_terminal` a pseudo-terminal.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from typing import Any

import boto3

WHOLE = ("--start", "trim-horizon", "--no-follow")
ZONE = timezone(timedelta(hours=2))
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
        out, err = process.communicate(timeout=20)
    return process.returncode, out.splitlines(), err


@dataclass
class Terminal:
    """A process on a pseudo-terminal.

    Attributes:
        screen: all that it has written so far, escape sequences included.
    """

    pid: int
    fd: int
    screen: str = ""
    status: int | None = None

    def wait_for(self, is_there: str | Callable[[str], bool], seconds: float = 20) -> None:
        """Until it has written a text, or what makes a function true of all that it has written."""
        until = time.monotonic() + seconds
        found = is_there if callable(is_there) else lambda screen: is_there in screen
        while not found(self.screen):
            assert time.monotonic() < until, f"{is_there!r} is not there: {self.screen!r}"
            assert self._read(0.2), f"it has ended: {self.screen!r}"

    def wait(self, seconds: float = 20) -> int:
        """Until it ends; its exit status."""
        until = time.monotonic() + seconds
        while self.status is None and self._read(0.2):
            assert time.monotonic() < until, f"it does not end: {self.screen!r}"
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def type(self, keys: bytes) -> None:
        """As a person does: b"\x03" is Ctrl-C."""
        os.write(self.fd, keys)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; its process hears of it."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def text(self) -> str:
        """What it has written, without escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.screen).replace("\r", "")

    def _read(self, seconds: float) -> bool:
        """Take what there is; whether it still writes."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # Linux's way of telling the end
            data = b""
        self.screen += data.decode()
        return bool(data)


@contextmanager
def on_terminal(
    *arguments: str, columns: int = 100, rows: int = 30, stdout: int | None = None, **settings: str
) -> Iterator[Terminal]:
    """The command on a pseudo-terminal of its own; its standard output elsewhere, if that is given."""
    pid, fd = pty.fork()
    if pid == 0:
        if stdout is not None:
            os.dup2(stdout, 1)
        drop = ("PYTHONUNBUFFERED", "NO_COLOR")
        env = {name: value for name, value in os.environ.items() if name not in drop}
        env |= {"TERM": "xterm-256color"} | ZONE_VARIABLE | settings
        os.execve(sys.executable, [sys.executable, "-m", "rxddbstream", *arguments], env)
    terminal = Terminal(pid, fd)
    terminal.resize(columns, rows)
    try:
        yield terminal
    finally:
        if terminal.status is None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(fd)
