"""A contender's task, done in a fresh process: how the parent starts it, and what it gets back."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

from benchmarks.environment import environment
from benchmarks.measuring import Result

TIMEOUT = 600.0


@dataclass(frozen=True)
class Job:
    """Who is to do what.

    Attributes:
        contender: a module of `contenders`.
        task: what to do with the records; see the functions of `contenders`.
        url: the server.
        shards: how many it has.
        records: how many there are in all, in full pages.
        seconds: how long to go on, for the tasks that have no last record; of the windows, over how long the
            changes were made.
        settle: after how many seconds the steady state begins.
        start: where this library begins to read.
    """

    contender: str
    task: str
    url: str = ""
    shards: int = 1
    records: int = 0
    seconds: float = 0.0
    settle: float = 0.0
    start: str = "trim_horizon"


def run(job: Job) -> Result:
    """Have it done.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.contenders", json.dumps(asdict(job))]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{job} failed:\n{done.stdout}{done.stderr}")
    return Result(**json.loads(done.stdout.splitlines()[-1]))
