"""How often and in which order: contenders take turns, so that what the machine does hits all alike."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks.job import Job, run
from benchmarks.measuring import MB, Result
from benchmarks.records import PAGE_SIZE
from benchmarks.server import Content, Stats, serving

PROBE_PAGES = 4  # in the run that finds out how many pages a measured run needs
FEWEST_PAGES, MOST_PAGES = 2, 3000  # a shard; its first one is not measured


@dataclass(frozen=True)
class Settings:
    """How much to measure.

    Attributes:
        runs: of each contender; the medians are compared.
        long_runs: the same, of the cases that last for a given time.
        drain_seconds: about how long a run should take that reads to the end; 0 makes it as short as it
            can be.
        idle_seconds: how long idle shards are watched.
        settle_seconds: how much of that is the beginning, before the steady state.
        trickle_seconds: how long.
        slow_seconds: how long the slow observer reads.
        idle_shards: how many.
        window_changes: how many are counted in windows, of each contender.
        window_keys: how many changes the windows get that have a key of their own.
        backlog_records: how many there are.
        unaligned_records: the same, where shards run ahead of others.
    """

    runs: int = 5
    long_runs: int = 1
    drain_seconds: float = 1.5
    idle_seconds: float = 60.0
    settle_seconds: float = 20.0
    trickle_seconds: float = 20.0
    slow_seconds: float = 10.0
    idle_shards: int = 1000
    window_changes: int = 200_000
    window_keys: int = 1_000_000
    backlog_records: int = 5_000_000
    unaligned_records: int = 1_000_000


QUICK = Settings(
    runs=1,
    drain_seconds=0.0,
    idle_seconds=12.0,
    settle_seconds=6.0,
    trickle_seconds=5.0,
    slow_seconds=3.0,
    window_changes=20_000,
    window_keys=60_000,
    backlog_records=100_000,
    unaligned_records=100_000,
)


class MiscountError(Exception):
    """A contender did not see all records, or saw some twice: what it measured is worth nothing."""


def say(text: str) -> None:
    """Tell what is going on; the table alone goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def alone(job: Job) -> Result:
    """One run that needs no server.

    Raises:
        MiscountError: it did not count all records, or some more than once.
    """
    result = run(job)
    _tell(job, result)
    if result.records != job.records:
        raise MiscountError(f"{job}: {result.records} of {job.records} records")
    return result


def in_turns(jobs: Sequence[Job], settings: Settings) -> list[list[Result]]:
    """Several such runs of each job.

    Returns:
        The results of each job.
    """
    results: list[list[Result]] = [[] for _ in jobs]
    for _ in range(settings.runs):
        for job, found in zip(jobs, results, strict=True):
            found.append(alone(job))
    return results


def once(job: Job, content: Content) -> tuple[Result, Stats]:
    """One run, against a fresh server."""
    with serving(content) as server:
        result = run(replace(job, url=server.url, shards=content.shards, records=content.records))
        stats = server.stats()
    _tell(job, result, f", {stats.calls.get('GetRecords', 0)} calls")
    return result, stats


def _tell(job: Job, result: Result, more: str = "") -> None:
    say(
        f"  {job.contender} {job.task}: {result.measured} records, {result.cpu:.2f} s CPU, "
        f"{result.wall:.2f} s, {result.peak / MB:.0f} MB, {result.threads} threads{more}"
    )


def drain(job: Job, content: Content) -> Result:
    """One run that reads to the end.

    Raises:
        MiscountError: it did not read all.
    """
    result, stats = once(job, content)
    if not result.records == stats.records == content.records:
        raise MiscountError(f"{job}: {result.records} of {content.records} records, {stats.records} served")
    return result


def drains(jobs: Sequence[Job], content: Content, settings: Settings) -> list[list[Result]]:
    """Several runs of each job, in turns. Each job gets as many pages as last for about the same time.

    Args:
        content: the server's; its number of pages does not matter.

    Returns:
        The results of each job.
    """
    probe = replace(content, pages=max(FEWEST_PAGES, PROBE_PAGES // content.shards))
    probes = [drain(job, probe) for job in jobs]
    if not settings.drain_seconds:
        return [[probe] for probe in probes]
    contents = [replace(content, pages=_pages_for(probe, content, settings)) for probe in probes]
    results: list[list[Result]] = [[] for _ in jobs]
    for _ in range(settings.runs):
        for job, own, found in zip(jobs, contents, results, strict=True):
            found.append(drain(job, own))
    return results


def _pages_for(probe: Result, content: Content, settings: Settings) -> int:
    records = probe.records_per_second * settings.drain_seconds
    pages = 1 + math.ceil(records / PAGE_SIZE / content.shards)  # the first is not measured
    return max(FEWEST_PAGES, min(MOST_PAGES, pages))


def median(results: Sequence[Result], figure: Callable[[Result], float]) -> float:
    """Of several runs."""
    return statistics.median(figure(result) for result in results)
