"""Operators that reactivex lacks.

Which changes matter, and what they changed: `where`, `changed`, `diff`, `latest_by_key`, `distinct_event`.

Event-time windows: `window`, `fold_window`; which windows: `tumbling`, `sliding`, `session`; what becomes of
their changes: `count`, `sum_of`, `minimum`, `maximum`, `mean`, `latest`, `distinct_count`.

Ending a stream between two changes: `take_with_time`, `take_until`.

For changes that are not done when `on_next` returns: `hold`, `release`, `observe_on`. A change is
checkpointed when its `on_next` has returned. An operator that keeps it for later, such as a buffer, or hands
it to another thread, returns at once. Hold the changes before it, and release them when they are really done.
The windows here do so by themselves.
"""

from rxddbstream.model.diff import Diff
from rxddbstream.operators.ends import take_until, take_with_time
from rxddbstream.operators.filters import changed, diff, distinct_event, where
from rxddbstream.operators.holds import hold, release
from rxddbstream.operators.tables import latest_by_key
from rxddbstream.operators.threads import observe_on
from rxddbstream.operators.windows import Window, fold_window, window
from rxddbstream.windows.base import WindowResult
from rxddbstream.windows.definitions import Windower, session, sliding, tumbling
from rxddbstream.windows.folds import Fold, count, distinct_count, latest, maximum, mean, minimum, sum_of

__all__ = [
    "Diff",
    "Fold",
    "Window",
    "WindowResult",
    "Windower",
    "changed",
    "count",
    "diff",
    "distinct_count",
    "distinct_event",
    "fold_window",
    "hold",
    "latest",
    "latest_by_key",
    "maximum",
    "mean",
    "minimum",
    "observe_on",
    "release",
    "session",
    "sliding",
    "sum_of",
    "take_until",
    "take_with_time",
    "tumbling",
    "where",
    "window",
]
