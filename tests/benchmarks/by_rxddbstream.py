"""This library, as its users write it: `changes`, operators, `run`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import reactivex.operators as ops
from reactivex import Observable

import rxddbstream as rxd
from benchmarks.consuming import BATCH, DAWDLE, SPIN, TOUCHED, bytes_a_record, note_memory, tally_of, walk
from benchmarks.job import Job
from benchmarks.measuring import Meter, Result, Tally, spin
from benchmarks.records import ARN, PAGE_SIZE
from benchmarks.server import Server

LOOK_EVERY = 50  # records between two looks at how far ahead the pages are

_ = rxd.changes, rxd.run  # imported when first used, which is not to be measured


def do(job: Job) -> Result:
    """Do the task."""
    meter = Meter()
    tally = tally_of(job, meter)
    _TASKS[job.task](job, tally, meter)
    meter.result.records = tally.count
    return meter.result


def _changes(job: Job, *, follow: bool = False) -> Observable[rxd.Change]:
    return rxd.changes(ARN, endpoint_url=job.url, start=job.start, follow=follow)


def _is_modify(change: rxd.Change) -> bool:
    return change.event_name == "MODIFY"


def _sequence_number(change: rxd.Change) -> str:
    return change.sequence_number


def _touched(change: rxd.Change) -> Any:
    assert change.new_image is not None
    return change.new_image[TOUCHED]


def _for_a_while(source: Observable[Any], on_next: Callable[[Any], None], seconds: float) -> None:
    """Read what does not end by itself."""
    failures: list[Exception] = []
    subscription = source.subscribe(on_next, failures.append)
    time.sleep(seconds)
    subscription.dispose()
    if failures:
        raise failures[0]


def _drain(job: Job, tally: Tally, meter: Meter) -> None:
    rxd.run(_changes(job), tally.one)


def _touch(job: Job, tally: Tally, meter: Meter) -> None:
    def on_next(change: Any) -> None:
        _ = change.new_image[TOUCHED]
        tally.one()

    rxd.run(_changes(job), on_next)


def _touch_all(job: Job, tally: Tally, meter: Meter) -> None:
    def on_next(change: Any) -> None:
        walk(change.keys)
        walk(change.new_image)
        walk(change.old_image)
        tally.one()

    rxd.run(_changes(job), on_next)


def _filter_map(job: Job, tally: Tally, meter: Meter) -> None:
    pipeline = _changes(job).pipe(
        ops.filter(_is_modify),
        ops.map(_sequence_number),
    )
    rxd.run(pipeline, tally.one)


def _batches(job: Job, tally: Tally, meter: Meter) -> None:
    pipeline = _changes(job).pipe(
        ops.filter(_is_modify),
        ops.map(_touched),
        ops.buffer_with_count(BATCH),
    )

    def on_next(batch: list[Any]) -> None:
        for _ in batch:
            tally.one()

    rxd.run(pipeline, on_next)


def _keep(job: Job, tally: Tally, meter: Meter) -> None:
    kept: list[Any] = []
    sizes = note_memory(tally)

    def on_next(change: Any) -> None:
        kept.append(change)
        tally.one()

    rxd.run(_changes(job), on_next)
    meter.result.extra["kept"] = bytes_a_record(sizes, job)


def _spin(job: Job, tally: Tally, meter: Meter) -> None:
    def on_next(_: Any) -> None:
        spin(SPIN)
        tally.one()

    # Alone, too: on a busy machine 20 us of CPU take longer than 20 us.
    before = _wall_of_spinning()
    rxd.run(_changes(job), on_next)
    meter.result.extra["alone"] = (before + _wall_of_spinning()) / 2


def _wall_of_spinning(rounds: int = 5_000) -> float:
    """Seconds that one takes."""
    began = time.perf_counter()
    for _ in range(rounds):
        spin(SPIN)
    return (time.perf_counter() - began) / rounds


def _dawdle(job: Job, tally: Tally, meter: Meter) -> None:
    ahead: list[float] = []
    server = Server(job.url)

    def on_next(_: Any) -> None:
        time.sleep(DAWDLE)
        tally.count += 1
        if tally.count % LOOK_EVERY == 0:
            ahead.append(server.stats().pages - tally.count / PAGE_SIZE)

    meter.start()
    _for_a_while(_changes(job, follow=True), on_next, job.seconds)
    meter.stop(tally.count)
    meter.result.extra["ahead"] = max(ahead)


def _idle(job: Job, tally: Tally, meter: Meter) -> None:
    server = Server(job.url)
    extra = meter.result.extra
    failures: list[Exception] = []
    meter.start()
    subscription = _changes(job, follow=True).subscribe(tally.one, failures.append)
    extra["subscribed"] = meter.stop().wall
    for name, seconds in [("settled", job.settle), ("whole", job.seconds - job.settle)]:
        time.sleep(seconds)
        calls = server.stats().calls.get("GetRecords", 0)
        until_now = meter.stop()
        extra |= {f"{name}_cpu": until_now.cpu, f"{name}_wall": until_now.wall, f"{name}_calls": calls}
    subscription.dispose()
    if failures:
        raise failures[0]


def _trickle(job: Job, tally: Tally, meter: Meter) -> None:
    latencies: list[float] = []
    # What was written while the client was still being made says nothing of polling.
    steady_from = time.time() + job.settle

    def on_next(change: Any) -> None:
        now = time.time()
        if now >= steady_from:
            latencies.append(now - float(change.new_image["written"]))
        tally.count += 1

    meter.start()
    _for_a_while(_changes(job, follow=True), on_next, job.seconds)
    meter.stop(tally.count)
    cuts = statistics.quantiles(latencies, n=100)
    meter.result.extra |= {"p50": cuts[49], "p99": cuts[98], "worst": max(latencies)}


_TASKS: dict[str, Callable[[Job, Tally, Meter], None]] = {
    "drain": _drain,
    "touch": _touch,
    "touch_all": _touch_all,
    "filter_map": _filter_map,
    "batches": _batches,
    "keep": _keep,
    "spin": _spin,
    "dawdle": _dawdle,
    "idle": _idle,
    "trickle": _trickle,
}
