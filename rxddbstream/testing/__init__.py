"""A DynamoDB stream in memory, for testing pipelines without AWS, without waiting and without luck.

>>> from rxddbstream.testing import SimulatedStream
>>> sim = SimulatedStream("orders")
>>> sim.put("a", total=3)["eventName"]
'INSERT'
>>> [shard] = sim.client.describe_stream(StreamArn=sim.arn)["StreamDescription"]["Shards"]
>>> iterator = sim.client.get_shard_iterator(
...     StreamArn=sim.arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
... )["ShardIterator"]
>>> page = sim.client.get_records(ShardIterator=iterator)
>>> page["Records"][0]["dynamodb"]["NewImage"]
{'id': {'S': 'a'}, 'total': {'N': '3'}}

In a test of a pipeline, give the library the client, and one virtual clock to both:

    scheduler = TestScheduler()
    sim = SimulatedStream("orders", scheduler=scheduler)
    rxd.changes("orders", client=sim.client, scheduler=scheduler).subscribe(seen.append)
    scheduler.advance_by(60)

`capture` writes what comes from a real stream to a file, and `replay` makes a stream of it again.
"""

from rxddbstream.testing.captures.capture import Capture, Written, capture
from rxddbstream.testing.captures.replay import replay
from rxddbstream.testing.client import SimulatedClient
from rxddbstream.testing.faults import Faults
from rxddbstream.testing.shapes import SimulatedShard, build_shards
from rxddbstream.testing.simulation import SimulatedStream

__all__ = [
    "Capture",
    "Faults",
    "SimulatedClient",
    "SimulatedShard",
    "SimulatedStream",
    "Written",
    "build_shards",
    "capture",
    "replay",
]
