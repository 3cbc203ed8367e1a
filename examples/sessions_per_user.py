"""Each customer's sessions: how long they were, and how many changes they had.

Of a demo table that lives in this process, or of a table of yours:

    python examples/sessions_per_user.py
    python examples/sessions_per_user.py orders --gap 1800 --max 28800

A session ends when its customer has had no change for `--gap` seconds. It is printed then, not before.
"""

import argparse
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from math import inf

from reactivex import Observable
from reactivex import operators as ops

import rxddbstream as rxd
from rxddbstream import operators as dops
from rxddbstream.demo import demo_table
from rxddbstream.operators import WindowResult


@dataclass(frozen=True)
class Visit:
    """What there was in a session."""

    changes: int = 0
    first: float = inf
    last: float = -inf

    @property
    def length(self) -> float:
        """Seconds from the first change to the last one."""
        return self.last - self.first


def sessions(
    changes: Observable[rxd.Change], gap: float, longest: float
) -> Observable[WindowResult[str, Visit]]:
    """Each customer's sessions, as they end.

    ::

        gap 5       --ada-ada----bob--ada------------------
                    -----------------(ada, 2)--(bob, 1)----
    """
    return changes.pipe(
        dops.fold_window(dops.session(gap, max=longest), key=customer, seed=Visit, fold=counted)
    )


def customer(change: rxd.Change) -> str:
    return str((change.new_image or change.old_image or {}).get("customer", "?"))


def counted(visit: Visit, change: rxd.Change) -> Visit:
    at = change.timestamp
    return Visit(visit.changes + 1, min(visit.first, at), max(visit.last, at))


def print_session(session: WindowResult[str, Visit]) -> None:
    visit = session.value
    print(
        f"{session.start:%H:%M:%S}  {session.key:12} {visit.length:7.1f} s {visit.changes:4} changes",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Print each customer's sessions.")
    parser.add_argument("table", nargs="?", help="its name (default: a demo table)")
    parser.add_argument("--gap", type=float, default=2.0, help="seconds that end a session (default: 2)")
    parser.add_argument("--max", type=float, default=60.0, help="seconds of the longest one (default: 60)")
    parser.add_argument("-n", type=int, default=sys.maxsize, help="end after so many sessions")
    args = parser.parse_args()
    with ExitStack() as stack:
        changes = rxd.changes(args.table) if args.table else stack.enter_context(demo_table()).changes()
        rxd.run(sessions(changes, args.gap, args.max).pipe(ops.take(args.n)), print_session)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
