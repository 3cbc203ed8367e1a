"""The cases: each measures one promise, next to what it is compared with, and makes rows of a table."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence

from benchmarks.bench import Settings, drain, drains, median, once
from benchmarks.environment import environment
from benchmarks.job import Job, run
from benchmarks.measuring import MB, Result
from benchmarks.records import PAGE_SIZE
from benchmarks.server import Content
from benchmarks.table import Row, at_least, at_most
from benchmarks.windowed import backlog, many_keys, windows

WORKERS = 16  # of the library's pool
KEPT_RECORDS = 20_000
DELAY = 0.02  # seconds, of the network
DELAYED_PAGES = 60
SLOW_SHARDS = 40  # more than there are workers
TRICKLE = Content(shards=8, rate=20.0)
IMPORTS = {
    "bare": "import rxddbstream",
    "whole": "import rxddbstream; rxddbstream.changes; rxddbstream.run",
    "theirs": "import boto3, reactivex",
}

Case = Callable[[Settings], Iterable[Row]]


def jobs(task: str, *contenders: str) -> list[Job]:
    return [Job(contender, task) for contender in contenders]


def one_shard(settings: Settings) -> Iterable[Row]:
    """Read one shard to its end, count the records."""
    ours, boto3, floor = drains(jobs("drain", "rxddbstream", "boto3", "floor"), Content(), settings)
    yield _cpu("drain a shard, CPU", ours, boto3, "bare boto3", 30)
    yield _throughput("drain a shard, throughput", ours, floor, 0.6)


def sixteen_shards(settings: Settings) -> Iterable[Row]:
    """The same of 16 shards; the others with 16 threads."""
    content = Content(shards=16)
    ours, boto3, floor = drains(jobs("drain", "rxddbstream", "boto3", "floor"), content, settings)
    yield _cpu("drain 16 shards, CPU", ours, boto3, "bare boto3, 16 threads", None)
    yield _throughput("drain 16 shards, throughput", ours, floor, None)
    yield _memory("drain 16 shards, peak memory above the imports", ours, boto3)


def touch_one(settings: Settings) -> Iterable[Row]:
    """Read one attribute of each new image."""
    ours, boto3, floor = drains(jobs("touch", "rxddbstream", "boto3", "floor"), Content(), settings)
    yield _cpu("one attribute of each image", ours, boto3, "boto3 + TypeDeserializer", 20)
    own, least = median(ours, _us), median(floor, _us)
    yield Row(
        "one attribute of each image, next to the floor",
        f"{own:.1f} us a record, the floor {least:.1f}",
        f"{own / least:.2f} x the CPU",
        at_most(own / least, 4, "{} x"),
    )


def touch_all(settings: Settings) -> Iterable[Row]:
    """Read all attributes of both images."""
    ours, boto3 = drains(jobs("touch_all", "rxddbstream", "boto3"), Content(), settings)
    yield _cpu("all attributes of both images", ours, boto3, "boto3 + TypeDeserializer", 6)


def pipelines(settings: Settings) -> Iterable[Row]:
    """Read through operators."""
    plain, filtered, batched, by_hand = drains(
        [
            *(Job("rxddbstream", task) for task in ("drain", "filter_map", "batches")),
            Job("boto3", "batches"),
        ],
        Content(),
        settings,
    )
    yield _cpu("filter, map, buffer_with_count(100)", batched, by_hand, "boto3 and lists", None)
    cost = median(filtered, _us) - median(plain, _us)
    yield Row(
        "filter, map, subscribe: what they add",
        f"{median(filtered, _us):.1f} us a record, plain {median(plain, _us):.1f}",
        f"{cost:+.2f} us a record",
        at_most(cost, 4, "{} us"),
    )


def idle(settings: Settings) -> Iterable[Row]:
    """Follow many shards that nobody writes to, at the default poll."""
    return _idle(settings, "trim_horizon")


def idle_from_latest(settings: Settings) -> Iterable[Row]:
    """The same, with the default start."""
    return _idle(settings, "latest")


def _idle(settings: Settings, start: str) -> Iterable[Row]:
    content = Content(shards=settings.idle_shards)
    job = Job(
        "rxddbstream", "idle", seconds=settings.idle_seconds, settle=settings.settle_seconds, start=start
    )
    found: list[Result] = []
    bare: list[Result] = []
    for _ in range(settings.long_runs):
        bare.append(run(Job("boto3", "client")))
        found.append(once(job, content)[0])
    name = f"{settings.idle_shards:,} idle shards from {start}"
    for title, begin, end in [
        (f"all {settings.idle_seconds:.0f} s", None, "whole"),
        (f"after {settings.settle_seconds:.0f} s", "settled", "whole"),
    ]:
        cpu, wall, calls = (_between(found, begin, end, what) for what in ("cpu", "wall", "calls"))
        yield Row(
            f"{name}, {title}",
            f"{calls / wall:.0f} calls a second, {calls:,.0f} in all",
            f"{cpu / wall:.3f} of a core",
            at_most(cpu / wall, 0.25, "{} of a core"),
        )
    above = median(found, _peak_in_all) - median(bare, _peak_in_all)
    yield Row(
        f"{name}, memory above boto3 and a client",
        f"{median(found, _peak_in_all) / MB:.0f} MB, {median(bare, _peak_in_all) / MB:.0f} MB without",
        f"+{above / MB:.0f} MB",
        at_most(above / MB, 70, "{} MB"),
    )
    threads = median(found, lambda result: result.threads)
    yield Row(f"{name}, threads", "", f"{threads:.0f}", None)
    subscribed = median(found, lambda result: result.extra["subscribed"])
    yield Row(f"{name}, until subscribe returns", "", f"{subscribed:.2f} s", None)


def _between(found: Sequence[Result], begin: str | None, end: str, what: str) -> float:
    def figure(result: Result) -> float:
        before = result.extra[f"{begin}_{what}"] if begin else 0.0
        return result.extra[f"{end}_{what}"] - before

    return median(found, figure)


def trickle(settings: Settings) -> Iterable[Row]:
    """Follow shards that are written to in real time: from the write to on_next."""
    seconds, settle = settings.trickle_seconds, min(2.0, settings.trickle_seconds / 2)
    job = Job("rxddbstream", "trickle", seconds=seconds, settle=settle)
    found = [once(job, TRICKLE)[0] for _ in range(settings.long_runs)]
    name = f"{TRICKLE.shards} shards, {TRICKLE.rate:.0f} records a second each, write to on_next"
    cpu = median(found, lambda result: result.cpu / result.wall)
    for what, target in [("p50", 0.2), ("p99", 0.6)]:
        value = statistics.median(result.extra[what] for result in found)
        figure = f"worst {median(found, lambda result: result.extra['worst']):.2f} s, {cpu:.2f} of a core"
        yield Row(f"{name}, {what}", figure, f"{value:.3f} s", at_most(value, target, "{} s"))


def slow_observer(settings: Settings) -> Iterable[Row]:
    """An observer that takes 1 ms a record: how many pages wait for it, and in how much memory."""
    content = Content(shards=SLOW_SHARDS, pages=50)
    job = Job("rxddbstream", "dawdle", seconds=settings.slow_seconds)
    found = [once(job, content)[0] for _ in range(settings.long_runs)]
    ahead = max(result.extra["ahead"] for result in found)
    figure = f"{SLOW_SHARDS} shards, {WORKERS} workers; {median(found, _peak) / MB:.0f} MB above the imports"
    # The one that is being delivered is a worker's, too; a little room for a look at a bad moment.
    yield Row(
        "1 ms a record: pages fetched ahead, at most",
        figure,
        f"{ahead:.1f}",
        at_most(ahead, WORKERS + 1, "{}"),
    )


def imports(settings: Settings) -> Iterable[Row]:
    """Importing, in a fresh interpreter."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for number in range(settings.runs + 1):
        for name, statement in IMPORTS.items():
            cpu = _cpu_of(statement)
            if number:  # the first may have to compile
                times[name].append(cpu)
    bare, whole, theirs = (statistics.median(times[name]) for name in IMPORTS)
    for title, own in [("import rxddbstream", bare), ("import rxddbstream, and use changes", whole)]:
        figure = f"{own * 1000:.0f} ms, boto3 and reactivex {theirs * 1000:.0f} ms"
        yield Row(title, figure, f"{own / theirs:.2f} x the CPU", at_most(own / theirs, 1.10, "{} x"))


def _cpu_of(statement: str) -> float:
    code = f"import time; began = time.process_time(); {statement}; print(time.process_time() - began)"
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, env=environment(), stdout=subprocess.PIPE, check=True).stdout)


def kept(settings: Settings) -> Iterable[Row]:
    """Keep changes in a list."""
    pages = 3 if not settings.drain_seconds else 1 + -(-KEPT_RECORDS // PAGE_SIZE)
    contenders = jobs("keep", "rxddbstream", "boto3")
    results: list[list[Result]] = [[], []]
    for _ in range(settings.runs):
        for job, found in zip(contenders, results, strict=True):
            found.append(drain(job, Content(pages=pages)))
    own, theirs = (median(found, lambda result: result.extra["kept"]) for found in results)
    yield Row(
        f"a change kept in a list of {(pages - 1) * PAGE_SIZE:,}",
        f"{own:,.0f} bytes of resident memory, boto3's dict {theirs:,.0f}",
        f"{own / theirs:.2f} x",
        None,
    )


def overlap(settings: Settings) -> Iterable[Row]:
    """A network that takes 20 ms a page, and an observer that works 20 us a record: do they overlap?"""
    content = Content(pages=DELAYED_PAGES if settings.drain_seconds else 5, delay=DELAY)
    results: list[list[Result]] = [[], []]
    for _ in range(settings.runs):
        for task, found in zip(("drain", "spin"), results, strict=True):
            found.append(drain(Job("rxddbstream", task), content))
    fetching, both = (median(found, lambda result: result.wall) for found in results)
    working = median(results[1], lambda result: result.extra["alone"] * result.measured)
    best = max(fetching, working) / (fetching + working)
    yield Row(
        "20 ms a page, 20 us a record: wall time of both at once",
        f"{both:.2f} s, alone {fetching:.2f} s and {working:.2f} s",
        f"{both / (fetching + working):.2f} x the sum (at best {best:.2f})",
        None,
    )


def _us(result: Result) -> float:
    return result.cpu_per_record * 1e6


def _peak(result: Result) -> float:
    return result.peak


def _peak_in_all(result: Result) -> float:
    return result.peak_in_all


def _cpu(case: str, ours: list[Result], theirs: list[Result], whose: str, target: float | None) -> Row:
    own, other = median(ours, _us), median(theirs, _us)
    return Row(
        case,
        f"{own:.1f} us a record, {whose} {other:.0f}",
        f"{other / own:.1f} x less CPU",
        None if target is None else at_least(other / own, target, "{} x"),
    )


def _throughput(case: str, ours: list[Result], floor: list[Result], target: float | None) -> Row:
    own, most = (median(found, lambda result: result.records_per_second) for found in (ours, floor))
    return Row(
        case,
        f"{own:,.0f} records a second, the floor {most:,.0f}",
        f"{own / most:.2f} x the floor's",
        None if target is None else at_least(own / most, target, "{} x"),
    )


def _memory(case: str, ours: list[Result], theirs: list[Result]) -> Row:
    own, other = median(ours, _peak) / MB, median(theirs, _peak) / MB
    return Row(case, f"{own:.0f} MB, bare boto3 {other:.0f} MB", f"{own / other:.2f} x", None)


CASES: dict[str, Case] = {
    "drain": one_shard,
    "drain16": sixteen_shards,
    "touch": touch_one,
    "touch-all": touch_all,
    "pipeline": pipelines,
    "idle": idle,
    "idle-latest": idle_from_latest,
    "trickle": trickle,
    "slow": slow_observer,
    "import": imports,
    "memory": kept,
    "overlap": overlap,
    "windows": windows,
    "backlog": backlog,
    "keys": many_keys,
}
