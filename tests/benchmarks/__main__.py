"""Measures this library next to boto3 and next to a bare HTTP loop, and prints a table of ratios.

    python tests/benchmarks                       all cases, medians of five, some ten minutes
    python tests/benchmarks --quick               a look at all of them, about a minute
    python tests/benchmarks drain touch           some of them
    python tests/benchmarks --shards 5000 idle    more idle shards

Everything runs against a server on this machine, in a process of its own, and each contender in a fresh
process that measures itself. Compare the ratios, not the figures: those depend on the machine.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

if not __package__:  # run as a folder: let `benchmarks` be found
    sys.path[0] = str(Path(__file__).parent.parent)

from benchmarks.bench import QUICK, Settings, say
from benchmarks.cases import CASES
from benchmarks.table import Row, as_markdown, as_text


def main() -> int:
    arguments = _parser().parse_args()
    unknown = set(arguments.cases) - CASES.keys()
    if unknown:
        say(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
        return 2
    settings = QUICK if arguments.quick else Settings()
    given = {
        "runs": arguments.runs,
        "long_runs": arguments.long_runs,
        "idle_shards": arguments.shards,
    }
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    rows: list[Row] = []
    try:
        for name in arguments.cases or CASES:
            say(name)
            for row in CASES[name](settings):
                say(f"  = {row.case}: {row.ratio}")
                rows.append(row)
    except KeyboardInterrupt:
        say("interrupted; this is what was measured until now")
    print(as_markdown(rows) if arguments.markdown else as_text(rows))
    missed = [row for row in rows if row.target and not row.target.met]
    return 1 if arguments.check and missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"by default all: {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="one short run each; rough")
    parser.add_argument("--runs", type=int, help="runs of each contender (5)")
    parser.add_argument("--long-runs", type=int, help="runs of the cases that last for a given time (1)")
    parser.add_argument("--shards", type=int, help="how many idle shards (1000)")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
