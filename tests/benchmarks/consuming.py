"""What the contenders have in common."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from benchmarks.job import Job
from benchmarks.measuring import Meter, Tally, resident
from benchmarks.records import PAGE_SIZE

TOUCHED = "total"  # the one attribute that is touched
BATCH = 100
SPIN = 20e-6  # seconds of CPU a record, of the observer that works
DAWDLE = 1e-3  # seconds a record, of the observer that waits

Pages: TypeAlias = Iterator[list[Any]]
Consume: TypeAlias = Callable[[list[Any]], object]


def tally_of(job: Job, meter: Meter) -> Tally:
    """Counts all, and measures all but a first page for each shard."""
    return Tally(meter, job.shards * PAGE_SIZE, job.records)


def walk(value: Any) -> None:
    """Touch a value to its last leaf, as something that writes it elsewhere would."""
    for inner in value.values() if isinstance(value, Mapping) else value:
        if isinstance(inner, Mapping | list):
            walk(inner)


def shard_ids(answer: Mapping[str, Any]) -> list[str]:
    """The shards in an answer to DescribeStream; no contender but ours reads more than one page of it."""
    return [shard["ShardId"] for shard in answer["StreamDescription"]["Shards"]]


def read_with_threads(
    shards: list[str], pages_of: Callable[[str], Pages], tally: Tally, consume: Consume | None
) -> None:
    """The loop that one writes without this library: a thread a shard; for one shard, none."""

    def read(shard: str) -> None:
        # Each ends with its own shard: an empty page is all that follows.
        for records in pages_of(shard):
            if not records:
                return
            if consume is not None:
                consume(records)
            tally.many(len(records))

    if len(shards) == 1:
        read(shards[0])
        return
    threads = [threading.Thread(target=read, args=[shard], daemon=True) for shard in shards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def note_memory(tally: Tally) -> list[int]:
    """Have the memory in use noted at the first and at the last of the measured records."""
    sizes: list[int] = []

    def note() -> None:
        gc.collect()
        sizes.append(resident())

    tally.on_first = tally.on_last = note
    return sizes


def bytes_a_record(sizes: list[int], job: Job) -> float:
    """What was noted, for each of the measured records."""
    first, last = sizes
    return (last - first) / (job.records - PAGE_SIZE * job.shards)
