"""Ctrl-C and SIGTERM as an end in order."""

from __future__ import annotations

import _thread
import logging
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, NoReturn, Self

log = logging.getLogger("rxddbstream")

_AGAIN = 1.0  # seconds between two tries to interrupt what has used up its time


def terminate(number: int, _: FrameType | None = None) -> NoReturn:
    """A handler that ends the process in order, with the status of one that died of the signal."""
    raise SystemExit(128 + number)


class Signals:
    """While it is entered, on the main thread, a signal stops what runs, which has some time for that.

    A signal raises, as Python's own handlers do, until `defer` was called. From then on the first one calls
    `stop`, and raises only when the time is up; a second one raises at once. SIGINT becomes a
    KeyboardInterrupt, SIGTERM a SystemExit with the status of a process that dies of it.

    A program's own handlers are left alone, and so is a signal that is ignored; on any other thread than the
    main one nothing is done. See https://docs.python.org/3/library/signal.html#signals-and-threads.

    Args:
        grace: how many seconds there are from the first signal on.
        stop: called with the first one, between any two instructions of the main thread.

    Attributes:
        received: what to raise in the end; None if there was no signal.
    """

    def __init__(self, grace: float, stop: Callable[[], object]) -> None:
        self.received: BaseException | None = None
        self._grace = min(grace, threading.TIMEOUT_MAX)
        self._stop = stop
        self._defers = False
        self._before: dict[signal.Signals, Any] = {}
        self._alarm: SimpleQueue[signal.Signals | None] = SimpleQueue()  # its `put` may interrupt itself
        self._lock = threading.Lock()  # guards what follows; no signal's handler has it
        self._is_over = False

    def defer(self) -> None:
        """From now on there is something that `stop` stops."""
        self._defers = True

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number, defaults in (
            (signal.SIGINT, {signal.default_int_handler}),
            (signal.SIGTERM, {signal.SIG_DFL, signal.default_int_handler, terminate}),
        ):
            if (before := signal.getsignal(number)) in defaults:
                signal.signal(number, self._receive)
                self._before[number] = before
        if self._before:
            threading.Thread(target=self._watch, name="rxddbstream-grace", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_over = True
        self._alarm.put(None)
        for number, before in self._before.items():
            signal.signal(number, before)

    def _receive(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number)
        handler = self._before[name]
        try:
            (terminate if handler is signal.SIG_DFL else handler)(number, None)
        except (KeyboardInterrupt, SystemExit) as error:
            if not self._defers or self.received is not None:
                raise
            self.received = error
        self._stop()
        self._alarm.put(name)

    def _watch(self) -> None:
        number, wait = self._alarm.get(), self._grace
        if number is None:
            return
        log.info("%s: what is in hand has %g seconds", number.name, self._grace)
        while True:
            with suppress(Empty):
                self._alarm.get(timeout=wait)
                return
            wait = _AGAIN  # its exception may have been caught
            with self._lock:
                if self._is_over:
                    return
                _interrupt(number)


def _interrupt(number: signal.Signals) -> None:
    """Send the main thread a signal, which ends a call that blocks it where the platform can do that."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(number)
