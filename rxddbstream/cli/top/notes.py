"""What is told while a picture stands on the terminal: it is kept, and shown as a part of that."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rxddbstream.cli.notes import Notes
from rxddbstream.model.words import printable

if TYPE_CHECKING:
    from rxddbstream.cli.top.rates import Rates
    from rxddbstream.model.events import Event
    from rxddbstream.model.shard import Shard

LASTS = 30.0  # seconds that a note is shown


class PictureNotes(Notes):
    """Tells the rates, and keeps for a while what would tear the picture."""

    def __init__(self, is_logged: bool, rates: Rates, is_kept: bool) -> None:
        super().__init__(is_logged)
        self._rates = rates
        self._is_kept = is_kept
        self._kept: deque[tuple[float, str]] = deque(maxlen=10)

    @property
    def kept(self) -> tuple[str, ...]:
        """The last few, the newest last."""
        now = time.monotonic()
        return tuple(text for told_at, text in tuple(self._kept) if now - told_at <= LASTS)

    def __call__(self, event: Event) -> None:
        self._rates.told(event)
        super().__call__(event)

    def opened(self, shard: Shard) -> None:
        pass  # the table shows it

    def say(self, text: str) -> None:
        if self._is_kept:
            # Of which stream is known.
            text = re.sub(r" of arn:\S+?(?=:? |$)", "", text.removeprefix("rxddbstream: "))
            self._kept.append((time.monotonic(), printable(" ".join(text.split()))))
        else:
            super().say(text)


@contextlib.contextmanager
def logged_to(notes: PictureNotes, is_live: bool) -> Iterator[None]:
    """The log that `--verbose` shows, as notes, where it would tear the picture."""
    root = logging.getLogger()
    if not (is_live and root.handlers and sys.stderr.isatty()):
        yield
        return
    before = root.handlers
    root.handlers = list[logging.Handler]([_LogToNotes(notes)])
    try:
        yield
    finally:
        root.handlers = before


class _LogToNotes(logging.Handler):
    def __init__(self, notes: PictureNotes) -> None:
        super().__init__()
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self._notes.say(record.getMessage())
