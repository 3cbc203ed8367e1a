"""The rows, and how they are printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

HEADINGS = ("case", "figure", "ratio", "target", "met")


class Target(NamedTuple):
    """What was promised, and whether it is kept."""

    text: str
    met: bool


class Row(NamedTuple):
    """One promise.

    Attributes:
        case: what was done.
        figure: what was measured.
        ratio: what it comes to, next to what it is compared with.
        target: None where nothing is promised.
    """

    case: str
    figure: str
    ratio: str
    target: Target | None

    @property
    def cells(self) -> tuple[str, ...]:
        """As text."""
        if self.target is None:
            return self.case, self.figure, self.ratio, "", ""
        return self.case, self.figure, self.ratio, self.target.text, "yes" if self.target.met else "NO"


def at_least(value: float, target: float, text: str) -> Target:
    return Target(">= " + text.format(f"{target:g}"), value >= target)


def at_most(value: float, target: float, text: str) -> Target:
    return Target("<= " + text.format(f"{target:g}"), value <= target)


def as_text(rows: Sequence[Row]) -> str:
    """In columns."""
    lines = [HEADINGS, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """For a README."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
