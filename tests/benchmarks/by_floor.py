"""The floor: what is left when nothing is done that need not be. No library can be faster than this."""

from __future__ import annotations

import http.client
import json
from typing import Any

import msgspec

from benchmarks.consuming import TOUCHED, Consume, Pages, read_with_threads, shard_ids, tally_of
from benchmarks.job import Job
from benchmarks.measuring import Meter, Result
from benchmarks.records import ARN

# Named as the service names them.
_Value = msgspec.defstruct("_Value", [("N", str)])
_Image = msgspec.defstruct("_Image", [(TOUCHED, _Value)])
_Detail = msgspec.defstruct(
    "_Detail",
    [
        ("SequenceNumber", str),
        ("ApproximateCreationDateTime", float),
        ("Keys", msgspec.Raw),
        ("NewImage", msgspec.Raw),
        ("OldImage", msgspec.Raw),
    ],
)
_Record = msgspec.defstruct("_Record", [("eventID", str), ("eventName", str), ("dynamodb", _Detail)])
_Answer = msgspec.defstruct("_Answer", [("Records", list[_Record]), ("NextShardIterator", str | None, None)])  # type: ignore[valid-type]

_decode_answer: Any = msgspec.json.Decoder(_Answer).decode
_decode_image: Any = msgspec.json.Decoder(_Image).decode


def do(job: Job) -> Result:
    """Do the task."""
    meter = Meter()
    tally = tally_of(job, meter)
    address = job.url.removeprefix("http://")

    def pages_of(shard: str) -> Pages:
        connection = http.client.HTTPConnection(address)
        answer = _ask(connection, "GetShardIterator", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        iterator = json.loads(answer)["ShardIterator"]
        while iterator:
            page = _decode_answer(_ask(connection, "GetRecords", ShardIterator=iterator))
            iterator = page.NextShardIterator
            yield page.Records

    tasks: dict[str, Consume | None] = {"drain": None, "touch": _touch}
    answer = _ask(http.client.HTTPConnection(address), "DescribeStream", StreamArn=ARN)
    read_with_threads(shard_ids(json.loads(answer)), pages_of, tally, tasks[job.task])
    meter.result.records = tally.count
    return meter.result


def _ask(connection: http.client.HTTPConnection, operation: str, **request: str) -> bytes:
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"DynamoDBStreams_20120810.{operation}",
    }
    connection.request("POST", "/", json.dumps(request).encode(), headers)
    return connection.getresponse().read()


def _touch(records: list[Any]) -> None:
    for record in records:
        _ = _decode_image(record.dynamodb.NewImage).total.N
