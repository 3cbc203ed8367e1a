"""Two threads at once, in every order in which the second one can come between the steps of the first."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from support.waiting import PATIENCE

import rxddbstream

PACKAGE = str(Path(rxddbstream.__file__).parent)
# Seconds that the second thread gets while the first one stands still. Mostly it is done sooner, or waits for
# a lock that the first one has; if it is only slow, that order is not tried, and nothing else comes of it.
TURN = 0.002

Side: TypeAlias = Callable[[], object]


def at_once(make: Callable[[], tuple[Side, Side, Side]], *, within: str = "") -> None:
    """Run two functions at once, again and again: the first one is stopped after 0, 1, 2, ... bytecodes.

    Args:
        make: makes, anew each time, the two functions and what checks the outcome.
        within: stop it in functions alone whose qualified names begin so, where a run of all takes too long.
    """
    stopped, after = True, 0
    with ThreadPoolExecutor(2) as pool:
        while stopped:
            first, second, check = make()
            stopped = _run(pool, first, second, after, within)
            check()
            after += 1
    assert after > 1, "the first function runs nothing of the package's"


def _run(pool: ThreadPoolExecutor, first: Side, second: Side, after: int, within: str) -> bool:
    """Run both; whether the first one came as far as to be stopped."""
    here, go_on = threading.Event(), threading.Event()
    left = after

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        code = frame.f_code
        if not (code.co_filename.startswith(PACKAGE) and code.co_qualname.startswith(within)):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            if left == 0:
                here.set()
                go_on.wait(PATIENCE)
            left -= 1
        return trace

    def traced() -> None:
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            first()
        finally:
            sys.settrace(before)

    slow: Future[Any] = pool.submit(traced)
    slow.add_done_callback(lambda _: here.set())
    try:
        assert here.wait(PATIENCE)
        begun = threading.Event()
        quick: Future[Any] = pool.submit(lambda: (begun.set(), second()))
        begun.wait(PATIENCE)
        done = threading.Event()
        quick.add_done_callback(lambda _: done.set())
        done.wait(TURN)
    finally:
        go_on.set()
    slow.result(PATIENCE)
    quick.result(PATIENCE)
    return left < 0
