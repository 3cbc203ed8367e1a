"""Count a table's changes by event type, every 10 seconds.

Of a demo table that lives in this process, or of a table of yours:

    python examples/count_by_event.py
    python examples/count_by_event.py orders --period 60
"""

import argparse
import sys
from collections import Counter
from contextlib import ExitStack, suppress

from reactivex import Observable
from reactivex import operators as ops

import rxddbstream as rxd
from rxddbstream.demo import demo_table


def count_by_event(changes: Observable[rxd.Change], period: float) -> Observable[Counter[str]]:
    """How many changes of each type there were in each period.

    ::

        ---I--M----I--|----M--R---------|------------|
                    {I: 2, M: 1}    {M: 1, R: 1}    {}
    """
    return changes.pipe(ops.buffer_with_time(period), ops.map(count))


def count(batch: list[rxd.Change]) -> Counter[str]:
    return Counter(change.event_name for change in batch)


def print_counts(counts: Counter[str]) -> None:
    print("   ".join(f"{name} {counts[name]:4}" for name in ("INSERT", "MODIFY", "REMOVE")), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count a table's changes by event type.")
    parser.add_argument("table", nargs="?", help="its name (default: a demo table)")
    parser.add_argument("--period", type=float, default=10.0, help="in seconds (default: 10)")
    parser.add_argument("-n", type=int, default=sys.maxsize, help="end after so many periods")
    args = parser.parse_args()
    with ExitStack() as stack:
        changes = rxd.changes(args.table) if args.table else stack.enter_context(demo_table()).changes()
        counts = count_by_event(changes, args.period)
        rxd.run(counts.pipe(ops.take(args.n)), print_counts)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
