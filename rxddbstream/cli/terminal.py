"""What standard output can show."""

from __future__ import annotations

import sys


def can_draw() -> bool:
    """Whether it takes arrows and blocks, and not ASCII alone."""
    try:
        "├└│─↓…▁█".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
