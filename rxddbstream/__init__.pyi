from rxddbstream import testing as testing
from rxddbstream.checkpoints.dynamodb import DynamoDBCheckpoints
from rxddbstream.checkpoints.memory import MemoryCheckpoints
from rxddbstream.checkpoints.sqlite import SqliteCheckpoints
from rxddbstream.checkpoints.store import CheckpointStore
from rxddbstream.consume import aiterate, iterate, run
from rxddbstream.model.change import Change
from rxddbstream.model.events import Checkpointed, Event, Gap, Retrying, ShardClosed, ShardOpened, Throttled
from rxddbstream.model.shard import Shard
from rxddbstream.protocol.pacing import Poll
from rxddbstream.reading.delivery import ShardStream
from rxddbstream.reading.statistics import Statistics
from rxddbstream.reading.stream import Stream, changes, shards
from rxddbstream.scheduling.pool import TimerPoolScheduler
from rxddbstream.views.lineage import lineage
from rxddbstream.views.listed import ListedShard, ShardContent
from rxddbstream.views.observers import print_change_record, print_json, print_summary
from rxddbstream.views.shard_tree import ShardTree

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

__version__: str
