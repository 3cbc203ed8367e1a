"""What the tests of windows know of their inside."""

from __future__ import annotations

from typing import Any

from rxddbstream.windows.aligned import AlignedWindows
from rxddbstream.windows.base import Windows


def open_count(windows: Windows[Any, Any, Any]) -> int:
    """How many windows are open, over all keys; of sessions, how many keys have one."""
    if isinstance(windows, AlignedWindows):
        return sum(len(bucket.values) for bucket in windows._buckets.values())
    return len(windows._keys)  # type: ignore[attr-defined]
