from rxddbstream import testing as testing
from rxddbstream.checkpoints.dynamodb import DynamoDBCheckpoints as DynamoDBCheckpoints
from rxddbstream.checkpoints.memory import MemoryCheckpoints as MemoryCheckpoints
from rxddbstream.checkpoints.sqlite import SqliteCheckpoints as SqliteCheckpoints
from rxddbstream.checkpoints.store import CheckpointStore as CheckpointStore
from rxddbstream.consume import aiterate as aiterate
from rxddbstream.consume import iterate as iterate
from rxddbstream.consume import run as run
from rxddbstream.model.change import Change as Change
from rxddbstream.model.events import Checkpointed as Checkpointed
from rxddbstream.model.events import Event as Event
from rxddbstream.model.events import Gap as Gap
from rxddbstream.model.events import Retrying as Retrying
from rxddbstream.model.events import ShardClosed as ShardClosed
from rxddbstream.model.events import ShardOpened as ShardOpened
from rxddbstream.model.events import Throttled as Throttled
from rxddbstream.model.shard import Shard as Shard
from rxddbstream.protocol.pacing import Poll as Poll
from rxddbstream.reading.delivery import ShardStream as ShardStream
from rxddbstream.reading.statistics import Statistics as Statistics
from rxddbstream.reading.stream import Stream as Stream
from rxddbstream.reading.stream import changes as changes
from rxddbstream.reading.stream import shards as shards
from rxddbstream.scheduling.pool import TimerPoolScheduler as TimerPoolScheduler
from rxddbstream.views.lineage import lineage as lineage
from rxddbstream.views.listed import ListedShard as ListedShard
from rxddbstream.views.listed import ShardContent as ShardContent
from rxddbstream.views.observers import print_change_record as print_change_record
from rxddbstream.views.observers import print_json as print_json
from rxddbstream.views.observers import print_summary as print_summary
from rxddbstream.views.shard_tree import ShardTree as ShardTree

__all__: list[str]
__version__: str
