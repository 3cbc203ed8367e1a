"""The cases of event-time windows: what they cost, and how much of them is open at once."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.backlog import DAY, MINUTE
from benchmarks.bench import Settings, alone, in_turns, median
from benchmarks.job import Job
from benchmarks.measuring import MB, Result
from benchmarks.table import Row, at_least, at_most

HOUR = 3600.0
SHARDS = 8
BACKLOG_SHARDS = 32
RESOLUTION = 1.0  # seconds, of the changes' times


def windows(settings: Settings) -> Iterable[Row]:
    """Count by key and minute, next to RxPY's own operators."""
    jobs = [
        Job("windows", task, records=settings.window_changes, seconds=HOUR, shards=SHARDS)
        for task in ("fold_window", "group_by_until", "scan")
    ]
    results = in_turns(jobs, settings)
    ours, groups, scan = (median(found, _us) for found in results)
    name = f"counts of 1,000 keys by minute, {results[0][0].extra['windows']:,.0f} windows"
    yield Row(
        name,
        f"{ours:.2f} us a change, group_by_until and count {groups:.1f}",
        f"{groups / ours:.1f} x less CPU",
        at_least(groups / ours, 20, "{} x"),
    )
    yield Row(
        f"{name}, next to a dict",
        f"{ours:.2f} us a change, scan and a dict that keeps them all {scan:.2f}",
        f"{scan / ours:.2f} x as fast",
        at_least(scan / ours, 0.5, "{} x"),
    )


def backlog(settings: Settings) -> Iterable[Row]:
    """Count by key and minute what was written in a day, over shards that are read at different speeds."""
    job = Job("backlog", "aligned", records=settings.backlog_records, seconds=DAY, shards=BACKLOG_SHARDS)
    found = alone(job)
    extra = found.extra
    name = f"{job.records:,} records of a day in {job.shards} shards"
    late = extra["late"]
    yield Row(
        f"{name}: late changes",
        f"{found.wall:.0f} s, {_us(found):.1f} us of CPU a record",
        f"{late:.0f}",
        at_most(late, 0, "{}"),
    )
    yield Row(
        f"{name}: a shard ahead of the last one, less its two pages in hand",
        f"{extra['apart']:.0f} s with them, where a page is up to {extra['page']:.0f} s long",
        f"{extra['furthest']:.0f} s",
        at_most(extra["furthest"], MINUTE + RESOLUTION, "{} s"),
    )
    yield Row(f"{name}: memory", _memory(found), f"+{found.peak / MB:.0f} MB", None)
    job = Job("backlog", "unaligned", records=settings.unaligned_records, seconds=DAY, shards=job.shards)
    found = alone(job)
    yield Row(
        f"{job.records:,} of them, if shards did not wait",
        f"{_memory(found)}, {found.extra['apart']:.0f} s apart",
        f"+{found.peak / MB:.0f} MB",
        None,
    )


def many_keys(settings: Settings) -> Iterable[Row]:
    """An hour of one-minute windows in which no key comes twice: what is closed is freed."""
    job = Job("backlog", "keys", records=settings.window_keys, seconds=HOUR, shards=SHARDS)
    found = alone(job)
    growth = (found.extra["end"] - found.extra["half"]) / MB
    yield Row(
        f"{job.records:,} keys over an hour of one-minute windows",
        f"{_memory(found)}, +{found.peak / MB:.0f} MB at most",
        f"{growth:+.1f} MB in the second half",
        at_most(growth, 5, "{} MB"),
    )


def _memory(result: Result) -> str:
    return f"{result.extra['open']:,.0f} windows open at most, of {result.extra['windows']:,.0f}"


def _us(result: Result) -> float:
    return result.cpu_per_record * 1e6
