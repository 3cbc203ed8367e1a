"""React to a DynamoDB table: its stream as an Observable of item changes.

>>> import rxddbstream as rxd
>>> from reactivex import operators as ops
>>> source = rxd.changes("orders").pipe(ops.filter(lambda change: change.event_name == "INSERT"))

Subscribe to `source` to begin: `source.subscribe(print)`, or `rxd.run(source, print)` to block.
"""

import importlib

# Type checkers read `__init__.pyi` in place of this file: there each name has its type.
_NAMES = {
    "checkpoints.dynamodb": "DynamoDBCheckpoints",
    "checkpoints.memory": "MemoryCheckpoints",
    "checkpoints.sqlite": "SqliteCheckpoints",
    "checkpoints.store": "CheckpointStore",
    "consume": "aiterate iterate run",
    "model.change": "Change",
    "model.events": "Checkpointed Event Gap Retrying ShardClosed ShardOpened Throttled",
    "model.shard": "Shard",
    "protocol.pacing": "Poll",
    "reading.delivery": "ShardStream",
    "reading.statistics": "Statistics",
    "reading.stream": "Stream changes shards",
    "scheduling.pool": "TimerPoolScheduler",
    "views.lineage": "lineage",
    "views.listed": "ListedShard ShardContent",
    "views.observers": "print_change_record print_json print_summary",
    "views.shard_tree": "ShardTree",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
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
