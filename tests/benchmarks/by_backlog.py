"""Counts by key and minute, of a backlog that is read from its beginning.

    aligned     as it is
    unaligned   shards do not wait for each other: what it would be without
    keys        each change has a key of its own, so that a window which is kept would be seen

Nothing is sent anywhere: what is measured is this library, and making the records.
"""

from __future__ import annotations

import time
from math import inf

import rxddbstream as rxd
import rxddbstream.reading.progress
from benchmarks.backlog import Backlog, Watched, key_of
from benchmarks.job import Job
from benchmarks.measuring import Meter, Result, resident
from benchmarks.records import ARN
from rxddbstream import operators as dops

_ = rxd.changes, rxd.run  # imported when first used, which is not to be measured


def do(job: Job) -> Result:
    """Do the task; the backlog was written over `job.seconds`."""
    if job.task == "unaligned":
        rxddbstream.reading.progress.ALIGNMENT = inf
    keys = job.records if job.task == "keys" else 1000
    backlog = Backlog(job.records, ends_at=time.time(), seconds=job.seconds, shards=job.shards, keys=keys)
    watched = Watched()
    windows = dops.fold_window(watched, key=key_of, fold=dops.count())
    stream = rxd.changes(ARN, client=backlog, start="trim_horizon", follow=False)
    extra = {"windows": 0, "half": 0.0, "end": 0.0}
    meter = Meter()
    counted = 0
    half = job.records // 2

    def take(result: dops.WindowResult[str, int]) -> None:
        nonlocal counted
        if counted < half <= counted + result.value:
            extra["half"] = resident()
        counted += result.value
        extra["windows"] += 1

    meter.start()
    rxd.run(stream.pipe(windows), take)
    meter.stop(job.records)
    meter.result.records = counted
    meter.result.extra = extra | {
        "late": stream.statistics().late,
        "open": watched.most_open,
        "apart": max(backlog.ahead.values()),
        "furthest": backlog.furthest,
        "page": backlog.longest_page,
        "end": resident(),
    }
    return meter.result
