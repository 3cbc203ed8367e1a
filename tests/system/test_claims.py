"""Processes of one consumer, over DynamoDB Local: refused, taken over, thawed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import consumer
from support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.system


class Consumers:
    """Processes with one output, one line for each change."""

    def __init__(self, server: Any, directory: Path) -> None:
        self._server = server
        self._directory = directory
        self._exits = ExitStack()
        self._table = f"claimed-{directory.name}"
        server.create_table(self._table)
        self._client = server.session().client("dynamodb", endpoint_url=server.endpoint_url)

    def put(self, number: int) -> None:
        item = {"id": {"S": f"k{number}"}, "n": {"N": str(number)}}
        self._client.put_item(TableName=self._table, Item=item)

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, consumer.__file__, self._table, self._server.endpoint_url]
        command += [str(self._directory / "out"), "--dynamodb", f"{self._table}-checkpoints"]
        errors = self._exits.enter_context((self._directory / "err").open("ab"))
        process = subprocess.Popen([*command, "--period", "1"], stderr=errors)
        self._exits.callback(process.wait)
        self._exits.callback(process.kill)
        return process

    def seen(self, process: subprocess.Popen[bytes]) -> list[int]:
        output = self._directory / "out"
        lines = output.read_text().rpartition("\n")[0].splitlines() if output.exists() else []
        return [line["n"] for line in map(json.loads, lines) if line["pid"] == process.pid and "n" in line]

    def has_begun(self, process: subprocess.Popen[bytes]) -> bool:
        output = self._directory / "out"
        text = output.read_text() if output.exists() else ""
        return f'"pid": {process.pid}' in text and any(
            str(process.pid) in line and "ShardOpened" in line for line in text.splitlines()
        )

    def errors(self) -> str:
        return (self._directory / "err").read_text()

    def close(self) -> None:
        self._exits.close()


@pytest.fixture
def consumers(dynamodb_local: Any, tmp_path: Path) -> Iterator[Consumers]:
    consumers = Consumers(dynamodb_local, tmp_path)
    yield consumers
    consumers.close()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="of POSIX")
@pytest.mark.timeout(300)
def test_a_second_process_is_refused_and_one_that_was_frozen_is_taken_over(consumers):
    first = consumers.start()
    wait_until(lambda: consumers.has_begun(first))
    second = consumers.start()
    assert second.wait(PATIENCE)
    assert "CheckpointLocked: consumer 'me' of checkpoint table" in consumers.errors()
    consumers.put(0)
    wait_until(lambda: consumers.seen(first) == [0])

    os.kill(first.pid, signal.SIGSTOP)
    third = consumers.start()
    wait_until(lambda: consumers.has_begun(third))
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait(PATIENCE)
    assert "was taken over by another process" in consumers.errors()
    consumers.put(1)
    wait_until(lambda: 1 in consumers.seen(third))
    assert third.poll() is None
    assert consumers.seen(second) == []
