"""What a process measures of itself: CPU of all its threads, wall time, memory, threads.

CPU is counted from when every shard has brought one page. Making the client costs some 50 ms, once, which
would hide what a record costs; the first page of all has to be fetched by everybody, and counts for nobody.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MB = 1_000_000
SAMPLE_INTERVAL = 0.05


@dataclass
class Result:
    """What one run of a contender came to; JSON between the processes.

    Attributes:
        records: how many were counted, those before measuring began included.
        measured: how many of them were measured.
        cpu: seconds of CPU for those.
        wall: seconds for those.
        peak: bytes of memory at the peak, above those after the imports.
        peak_in_all: the same, from nothing.
        threads: at most at once.
        extra: what only some tasks measure.
    """

    records: int = 0
    measured: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    peak: int = 0
    peak_in_all: int = 0
    threads: int = 0
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def cpu_per_record(self) -> float:
        """Seconds."""
        return self.cpu / max(1, self.measured)

    @property
    def records_per_second(self) -> float:
        """By the wall's clock."""
        return self.measured / max(self.wall, 1e-9)


def _status(name: str) -> int | None:
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux
        return None
    for line in status.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def resident() -> int:
    """Bytes of memory in use now; where the system does not say, the most so far."""
    return _status("VmRSS") or peak_resident()


def peak_resident() -> int:
    """The most bytes of memory so far."""
    # Linux hands `ru_maxrss` on from the process that started this one; VmHWM is the process's own.
    own = _status("VmHWM")
    if own is not None:
        return own
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Meter:
    """Measures this process; make it right after the imports."""

    def __init__(self) -> None:
        self._imported = resident()
        self._cpu = self._wall = 0.0
        self._threads = 1
        self.result = Result()
        threading.Thread(target=self._sample, name="benchmark-sampler", daemon=True).start()

    def _sample(self) -> None:
        while True:
            self._threads = max(self._threads, threading.active_count() - 1)  # less this one
            time.sleep(SAMPLE_INTERVAL)

    def start(self) -> None:
        """From here on."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self, measured: int = 0) -> Result:
        """Up to here; `start` goes on holding, so that a later `stop` measures more."""
        result = self.result
        result.cpu, result.wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        result.measured = measured
        result.peak_in_all = peak_resident()
        result.peak = result.peak_in_all - self._imported
        result.threads = max(self._threads, threading.active_count() - 1)
        return result


class Tally:
    """Counts records, and measures from a first number of them to a last.

    Args:
        meter: what to measure with.
        first: how many are not measured.
        last: at how many to stop.
    """

    def __init__(self, meter: Meter, first: int, last: int) -> None:
        self.count = 0
        self._meter = meter
        self._first = first
        self._last = last
        self._next = first
        self._lock = threading.Lock()
        self.on_first: Callable[[], object] = meter.start
        self.on_last: Callable[[], object] = self._stop

    def one(self, _: object = None) -> None:
        """Another one; for observers, which are called one at a time."""
        self.count += 1
        if self.count == self._next:
            self._reached()

    def many(self, number: int) -> None:
        """So many more; for threads. Pages are all of one size, so that no number is stepped over."""
        with self._lock:
            self.count += number
            if self.count == self._next:
                self._reached()

    @property
    def done(self) -> bool:
        """Whether the last has come."""
        return self.count >= self._last

    def _reached(self) -> None:
        if self.count == self._first:
            self._next = self._last
            self.on_first()
        else:
            self.on_last()

    def _stop(self) -> None:
        self._meter.stop(self._last - self._first)


def spin(seconds: float) -> None:
    """Use CPU for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
