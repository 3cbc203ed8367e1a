"""A bar that shows how far the reading of a backlog has come, below what is printed.

How much there is to read is not known, but up to which creation time all of it has been read is: the
watermark. It goes from where the reading begins to the moment at which it began.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from argparse import Namespace

    from rich.console import Console, RenderableType

    from rxddbstream.reading.statistics import Statistics
    from rxddbstream.reading.stream import Stream

RICH_ENOUGH = 0.02  # the part that has to be read before it is told how long the rest will take


class Estimate(NamedTuple):
    """How far it has come.

    Attributes:
        part: which part of the time has been read, from 0.0 to 1.0; None before that is known.
        records: how many changes were read.
        rate: changes a second.
        left: how many seconds it will still take; None before that can be told.
    """

    part: float | None
    records: int
    rate: float
    left: timedelta | None


class Backlog:
    """What was written up to a moment, and is being read.

    Args:
        end: that moment.
    """

    def __init__(self, end: datetime) -> None:
        self._end = end
        self._first: datetime | None = None

    def estimate(self, statistics: Statistics, elapsed: float) -> Estimate:
        """How far it has come after so many seconds."""
        watermark, part, left = statistics.watermark, None, None
        if watermark is not None:
            self._first = self._first or watermark
            whole = (self._end - self._first).total_seconds()
            part = min((watermark - self._first).total_seconds() / whole, 1.0) if whole > 0 else 1.0
            if part >= RICH_ENOUGH:
                left = timedelta(seconds=round(elapsed / part - elapsed))
        rate = statistics.records / elapsed if elapsed > 0 else 0.0
        return Estimate(part, statistics.records, rate, left)


@contextlib.contextmanager
def shown(stream: Stream[Any], args: Namespace) -> Iterator[None]:
    """Show a bar meanwhile, if a backlog is read and there is a terminal to show it on."""
    console = _terminal() if args.until_end else None
    if console is None:
        yield
        return
    from rich.live import Live

    backlog, began = Backlog(datetime.now(UTC)), time.monotonic()
    live = Live(
        get_renderable=lambda: bar(backlog.estimate(stream.statistics(), time.monotonic() - began)),
        console=console,
        transient=True,
        refresh_per_second=4,
        # So that what is printed comes above the bar, and data for a file goes to the file.
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=sys.stderr.isatty(),
    )
    try:
        with live:
            yield
    except BaseException:
        console.show_cursor(True)  # Ctrl-C may have come while the bar was being begun or ended
        raise


def bar(estimate: Estimate) -> RenderableType:
    """An estimate, on one line."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    line = Table.grid(padding=(0, 2), expand=False)
    texts = [f"{estimate.records:,} changes", f"{estimate.rate:,.0f}/s"]
    if estimate.left is not None:
        texts.append(f"{estimate.left} left")
    part = estimate.part or 0.0
    line.add_row(ProgressBar(total=1.0, completed=part, width=30), f"{part:4.0%}", *texts)
    return line


def _terminal() -> Console | None:
    for stream in (sys.stdout, sys.stderr):
        if stream.isatty():
            try:
                from rich.console import Console
            except ImportError:
                return None
            # Its lines may be longer than the terminal is wide: they are data.
            console = Console(file=stream, soft_wrap=True)
            return None if console.is_dumb_terminal else console
    return None
