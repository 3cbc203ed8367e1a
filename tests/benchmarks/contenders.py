"""Runs one contender's task in this process, and prints what was measured as JSON.

    rxddbstream   this library, by its public API
    boto3         what one would write instead: get_records in a loop, a thread a shard; where values are
                  needed, with boto3's TypeDeserializer
    floor         the best that Python can do: http.client and a typed msgspec decoder that leaves images
                  raw; no signing, no botocore, no care for errors
    windows       counts by key and minute: with `fold_window`, and with RxPY's own operators; no server
    backlog       the same with `fold_window`, of a backlog that is made as it is read; no server

Each is a module of its own, so that a process loads what its contender needs, and no more.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict

from benchmarks.job import Job
from benchmarks.measuring import Result

MODULES = {
    "rxddbstream": "benchmarks.by_rxddbstream",
    "boto3": "benchmarks.by_boto3",
    "floor": "benchmarks.by_floor",
    "windows": "benchmarks.by_windows",
    "backlog": "benchmarks.by_backlog",
}


def do(job: Job) -> Result:
    """Do the task, here and now."""
    result: Result = importlib.import_module(MODULES[job.contender]).do(job)
    return result


if __name__ == "__main__":
    print(json.dumps(asdict(do(Job(**json.loads(sys.argv[1]))))))
