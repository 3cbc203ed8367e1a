"""Waiting for what happens on other threads and in other processes."""

from __future__ import annotations

import time
from collections.abc import Callable

# Seconds. On a busy machine everything takes its time; only a test that fails waits for so long.
PATIENCE = 60.0


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
