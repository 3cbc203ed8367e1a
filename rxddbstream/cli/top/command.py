"""`rxddbstream top`: how a stream's reading goes, live."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from rxddbstream.cli.arguments import add_reading, add_stream, make_parser, positive
from rxddbstream.cli.top.notes import PictureNotes, logged_to
from rxddbstream.errors import ConfigurationError
from rxddbstream.views.printing import put

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from reactivex import Observable
    from rich.console import Console, RenderableType

    from rxddbstream.cli.top.rates import Rates
    from rxddbstream.model.change import Change
    from rxddbstream.reading.stream import Stream

FASTEST = 0.1  # seconds between two pictures
SLICE = 0.5  # seconds

ABOUT = """\
Show, live, how many changes a stream has, shard by shard, how far the reading is behind, and what
it costs.
"""

NOTES = """\
Where standard output is no terminal, the table is printed once, in full and without control
characters, when the reading ends by -n, --for or --until-end.

Rates are those of the last ten seconds. The lag of a shard is how old its last change was when
it was read. A shard is open; or closed, when it is being read and takes no more changes; or read
to its end. The price is that of GetRecords in us-east-1, without the free calls of each month.

Ctrl-C ends it.
"""


def parser() -> ArgumentParser:
    """The command's options."""
    parser = make_parser("rxddbstream top", ABOUT, NOTES)
    add_stream(parser)
    add_reading(parser)
    shown = parser.add_argument_group("how it is shown")
    every: dict[str, Any] = {"type": positive(float), "default": 1.0, "metavar": "SECONDS"}
    shown.add_argument("--every", **every, help="how often it is drawn anew (default: 1, at least 0.1)")
    shown.add_argument(
        "--sort",
        choices=["rate", "lag"],
        default="rate",
        help="which shards come first: those with the most changes a second (default), or furthest behind",
    )
    return parser


def run(args: Namespace) -> int:
    """Do it; returns the exit status."""
    try:
        from rich.console import Console
    except ImportError as error:
        raise ConfigurationError('top needs rich: pip install "rxddbstream[cli]"') from error
    from rxddbstream.cli.source import bounded, open_stream
    from rxddbstream.cli.top.rates import LINGERING, Rates
    from rxddbstream.protocol.pacing import Poll

    console = Console()
    is_live = console.is_terminal and not console.is_dumb_terminal
    rates = Rates(args.sort, lingering=LINGERING if is_live else math.inf)
    notes = PictureNotes(args.verbose, rates, is_kept=is_live)
    stream = open_stream(args, notes, Poll())
    draw = _Picture(args.stream, stream, rates, notes, console, is_live)
    show = _show if is_live else _wait
    is_shown = is_whole = False
    try:
        wake = _Alarm()
        with logged_to(notes, is_live), _reading(bounded(stream, args), rates, wake) as is_over:
            is_shown = is_live
            show(console, draw, wake, is_over, max(FASTEST, args.every))
        is_whole = True
    finally:
        if is_shown or is_whole:  # a terminal keeps the last picture, whatever has ended it
            _print(console, draw())
    return notes.status


class _Picture:
    """Draws how the reading goes.

    Args:
        name: the stream's or the table's.
        is_live: whether the picture has to fit the console's height.
    """

    def __init__(
        self,
        name: str,
        stream: Stream[Change],
        rates: Rates,
        notes: PictureNotes,
        console: Console,
        is_live: bool,
    ) -> None:
        from rxddbstream.cli.terminal import can_draw
        from rxddbstream.model.words import table_of

        self._title = table_of(name)
        self._stream = stream
        self._rates = rates
        self._notes = notes
        self._console = console
        self._is_live = is_live
        self._ascii_only = not can_draw()
        self._sample()

    def _sample(self) -> None:
        statistics = self._stream.statistics()
        self._snapshot = self._rates.sample(time.monotonic(), datetime.now(UTC), statistics)

    def __call__(self, is_anew: bool = True) -> RenderableType:
        """The picture, of a new sample or, in another size, of the last one."""
        from rxddbstream.cli.top.dashboard import render

        if is_anew:
            self._sample()
        return render(
            self._title,
            self._snapshot,
            self._console.width,
            self._console.height if self._is_live else None,
            notes=self._notes.kept,
            lost=self._notes.gaps,
            ascii_only=self._ascii_only,
        )


def _print(console: Console, picture: RenderableType) -> None:
    with console.capture() as captured:
        console.print(picture)
    put("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _show(
    console: Console,
    draw: Callable[..., RenderableType],
    wake: _Alarm,
    is_over: Callable[[], bool],
    every: float,
) -> None:
    """Draw on a terminal, until it is over."""
    from rich.live import Live

    try:
        with _resized(wake), Live(console=console, screen=True, auto_refresh=False) as live:
            is_anew = True
            while not is_over():
                live.update(draw(is_anew), refresh=True)
                is_anew = not wake.wait(every)
    finally:
        if console.is_alt_screen:  # Ctrl-C has come while it was being begun or ended
            console.set_alt_screen(False)
            console.show_cursor(True)


def _wait(
    console: Console,
    draw: Callable[..., RenderableType],
    wake: _Alarm,
    is_over: Callable[[], bool],
    every: float,
) -> None:
    """Take samples alone, until it is over."""
    while not is_over():
        draw()
        wake.wait(every)


class _Alarm:
    """Ends a wait, from any thread and from a signal's handler.

    An event would not do: a handler that sets it while the main thread is inside of one of its methods waits
    for ever for the lock that the main thread has.
    """

    def __init__(self) -> None:
        self._rings: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """End the wait, or the next one."""
        self._rings.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; whether it was ended before."""
        until = time.monotonic() + seconds
        while True:
            try:
                # In slices: a Ctrl-C that comes right before a wait would be heard when that is over.
                self._rings.get(timeout=max(0.0, min(until - time.monotonic(), SLICE)))
                break
            except Empty:
                if time.monotonic() >= until:
                    return False
        with contextlib.suppress(Empty):
            while True:  # until all that came meanwhile are taken
                self._rings.get_nowait()
        return True


@contextlib.contextmanager
def _reading(source: Observable[Change], rates: Rates, wake: _Alarm) -> Iterator[Callable[[], bool]]:
    """While the source is read; whether that is over. `wake` is set then, and an error is raised."""
    from rxddbstream.consume import EXIT_PATIENCE
    from rxddbstream.scheduling.pool import TimerPoolScheduler

    ends: list[BaseException | None] = []

    def end(error: BaseException | None = None) -> None:
        ends.append(error)
        wake.set()

    pool = TimerPoolScheduler()
    try:
        with source.subscribe(rates.count, end, end, scheduler=pool):
            if not ends or ends[0] is None:  # else there is nothing to show
                yield lambda: bool(ends)
    finally:
        pool.shutdown(wait=EXIT_PATIENCE)
    if ends and ends[0] is not None:
        raise ends[0]


@contextlib.contextmanager
def _resized(wake: _Alarm) -> Iterator[None]:
    """While the terminal's size may change, which sets `wake`."""
    number = getattr(signal, "SIGWINCH", None)  # not on Windows, where the next picture has the new size
    before = signal.signal(number, lambda *_: wake.set()) if number is not None else None
    try:
        yield
    finally:
        if number is not None:
            signal.signal(number, before)
