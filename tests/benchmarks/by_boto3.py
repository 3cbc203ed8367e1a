"""boto3 alone: get_records in a loop. What it measures is boto3's parsing, which nobody can leave out."""

from __future__ import annotations

from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.config import Config

from benchmarks.consuming import (
    BATCH,
    TOUCHED,
    Consume,
    Pages,
    bytes_a_record,
    note_memory,
    read_with_threads,
    shard_ids,
    tally_of,
    walk,
)
from benchmarks.job import Job
from benchmarks.measuring import Meter, Result
from benchmarks.records import ARN

_deserialize = TypeDeserializer().deserialize


def do(job: Job) -> Result:
    """Do the task; "client" makes one, and no more."""
    meter = Meter()
    tally = tally_of(job, meter)
    # As many connections as threads, or boto3 would open a new one for most calls.
    config = Config(max_pool_connections=max(10, job.shards))
    client = boto3.client("dynamodbstreams", endpoint_url=job.url or None, config=config)
    if job.task == "client":
        return meter.stop()

    def pages_of(shard: str) -> Pages:
        answer = client.get_shard_iterator(StreamArn=ARN, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        iterator = answer["ShardIterator"]
        while iterator:
            page = client.get_records(ShardIterator=iterator)
            iterator = page.get("NextShardIterator")
            yield page["Records"]

    kept: list[Any] = []
    tasks: dict[str, Consume | None] = {
        "drain": None,
        "touch": _touch,
        "touch_all": _touch_all,
        "batches": _batches,
        "keep": kept.extend,
    }
    sizes = note_memory(tally) if job.task == "keep" else None
    shards = shard_ids(client.describe_stream(StreamArn=ARN))
    read_with_threads(shards, pages_of, tally, tasks[job.task])
    meter.result.records = tally.count
    if sizes is not None:
        meter.result.extra["kept"] = bytes_a_record(sizes, job)
    return meter.result


def _touch(records: list[Any]) -> None:
    # The one attribute alone: whoever deserializes the whole image pays more.
    for record in records:
        _deserialize(record["dynamodb"]["NewImage"][TOUCHED])


def _touch_all(records: list[Any]) -> None:
    for record in records:
        for name in ("Keys", "NewImage", "OldImage"):
            walk({key: _deserialize(value) for key, value in record["dynamodb"][name].items()})


def _batches(records: list[Any]) -> None:
    found = [
        _deserialize(record["dynamodb"]["NewImage"][TOUCHED])
        for record in records
        if record["eventName"] == "MODIFY"
    ]
    for start in range(0, len(found), BATCH):
        _ = found[start : start + BATCH]
