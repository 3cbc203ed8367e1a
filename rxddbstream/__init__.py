"""React to a DynamoDB table: its stream as an Observable of item changes.

>>> import rxddbstream as rxd
>>> from reactivex import operators as ops
>>> source = rxd.changes("orders").pipe(ops.filter(lambda change: change.event_name == "INSERT"))

Subscribe to `source` to begin: `source.subscribe(print)`, or `rxd.run(source, print)` to block.
"""

from __future__ import annotations

import importlib

# Not that of `typing`: nothing is imported here that takes time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rxddbstream import testing as testing
    from rxddbstream.checkpoints import CheckpointStore, MemoryCheckpoints, SqliteCheckpoints
    from rxddbstream.core.pacing import Poll
    from rxddbstream.core.tree import ListedShard, ShardContent, ShardTree
    from rxddbstream.delivery import ShardStream
    from rxddbstream.dynamodb_checkpoints import DynamoDBCheckpoints
    from rxddbstream.listing import lineage
    from rxddbstream.model.change import Change
    from rxddbstream.model.events import (
        Checkpointed,
        Event,
        Gap,
        Retrying,
        ShardClosed,
        ShardOpened,
        Throttled,
    )
    from rxddbstream.model.shard import Shard
    from rxddbstream.observers import print_change_record, print_json, print_summary
    from rxddbstream.progress import Statistics
    from rxddbstream.running import aiterate, iterate, run
    from rxddbstream.scheduler import TimerPoolScheduler
    from rxddbstream.stream import Stream, changes, shards

    __version__: str

_HOME = {
    "CheckpointStore": "checkpoints",
    "MemoryCheckpoints": "checkpoints",
    "SqliteCheckpoints": "checkpoints",
    "Change": "model.change",
    "Checkpointed": "model.events",
    "Event": "model.events",
    "Gap": "model.events",
    "Retrying": "model.events",
    "Shard": "model.shard",
    "ShardClosed": "model.events",
    "ShardOpened": "model.events",
    "Throttled": "model.events",
    "Poll": "core.pacing",
    "ShardContent": "core.tree",
    "ListedShard": "core.tree",
    "ShardTree": "core.tree",
    "ShardStream": "delivery",
    "DynamoDBCheckpoints": "dynamodb_checkpoints",
    "lineage": "listing",
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
    "ListedShard",
    "MemoryCheckpoints",
    "Poll",
    "Retrying",
    "Shard",
    "ShardClosed",
    "ShardContent",
    "ShardOpened",
    "ShardStream",
    "ShardTree",
    "SqliteCheckpoints",
    "Statistics",
    "Stream",
    "Throttled",
    "TimerPoolScheduler",
    "aiterate",
    "changes",
    "iterate",
    "lineage",
    "print_change_record",
    "print_json",
    "print_summary",
    "run",
    "shards",
]


def __getattr__(name: str) -> Any:
    # Imported when first used (PEP 562): the command line answers `--help` without boto3.
    if name == "__version__":
        value = importlib.import_module("importlib.metadata").version(__name__)
    elif name == "testing":
        value = importlib.import_module(f"{__name__}.testing")
    elif name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "__version__"})
