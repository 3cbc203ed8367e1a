"""React to a DynamoDB table: its stream as an Observable of item changes.

>>> import rxddbstream as rxd
>>> from reactivex import operators as ops
>>> source = rxd.changes("orders").pipe(ops.filter(lambda change: change.event_name == "INSERT"))

Subscribe to `source` to begin: `source.subscribe(print)`, or `rxd.run(source, print)` to block.
"""

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rxddbstream.checkpoints import CheckpointStore, MemoryCheckpoints, SqliteCheckpoints
    from rxddbstream.core.model import (
        Change,
        Checkpointed,
        Event,
        Gap,
        Retrying,
        Shard,
        ShardClosed,
        ShardOpened,
        Throttled,
    )
    from rxddbstream.core.pacing import Poll
    from rxddbstream.delivery import ShardStream
    from rxddbstream.dynamodb_checkpoints import DynamoDBCheckpoints
    from rxddbstream.observers import print_change_record, print_json, print_summary
    from rxddbstream.progress import Statistics
    from rxddbstream.running import aiterate, iterate, run
    from rxddbstream.scheduler import TimerPoolScheduler
    from rxddbstream.stream import Stream, changes, shards

_HOME = {
    "CheckpointStore": "checkpoints",
    "MemoryCheckpoints": "checkpoints",
    "SqliteCheckpoints": "checkpoints",
    "Change": "core.model",
    "Checkpointed": "core.model",
    "Event": "core.model",
    "Gap": "core.model",
    "Retrying": "core.model",
    "Shard": "core.model",
    "ShardClosed": "core.model",
    "ShardOpened": "core.model",
    "Throttled": "core.model",
    "Poll": "core.pacing",
    "ShardStream": "delivery",
    "DynamoDBCheckpoints": "dynamodb_checkpoints",
    "print_change_record": "observers",
    "print_json": "observers",
    "print_summary": "observers",
    "aiterate": "running",
    "iterate": "running",
    "run": "running",
    "TimerPoolScheduler": "scheduler",
    "Statistics": "progress",
    "Stream": "stream",
    "changes": "stream",
    "shards": "stream",
}

__all__ = [
    "Change",
    "CheckpointStore",
    "Checkpointed",
    "DynamoDBCheckpoints",
    "Event",
    "Gap",
    "MemoryCheckpoints",
    "Poll",
    "Retrying",
    "Shard",
    "ShardClosed",
    "ShardOpened",
    "ShardStream",
    "SqliteCheckpoints",
    "Statistics",
    "Stream",
    "Throttled",
    "TimerPoolScheduler",
    "aiterate",
    "changes",
    "iterate",
    "print_change_record",
    "print_json",
    "print_summary",
    "run",
    "shards",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    # Imported when first used (PEP 562): the command line answers `--help` without boto3.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
