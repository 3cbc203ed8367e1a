"""What standard output can show: drawings, and colours, through rich where it is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from rxddbstream.errors import ConfigurationError

Brush: TypeAlias = Callable[[str, str], str]
"""Gives a text a style, such as `"green"`; "" is none."""


def can_draw() -> bool:
    """Whether it takes arrows and blocks, and not ASCII alone."""
    try:
        "├└│─↓…▁█".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def add_color(group: Any) -> None:
    """Whether there are colours."""
    group.add_argument(
        "--color",
        choices=["auto", "always", "never"],
        default="auto",
        help="auto (default): on a terminal, where rich is installed and NO_COLOR is not set",
    )


def brush_of(color: str) -> Brush:
    """The brush for `--color`, and standard output.

    Raises:
        ConfigurationError: rich is not installed, and there have to be colours.
    """
    if color == "always" or (color == "auto" and sys.stdout.isatty() and _likes_colours()):
        try:
            return _rich_brush()
        except ImportError:
            if color == "always":
                raise ConfigurationError(
                    '--color always needs rich: pip install "rxddbstream[cli]"'
                ) from None
    return lambda text, _: text


def _likes_colours() -> bool:
    # https://no-color.org, and terminals that have none
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _rich_brush() -> Brush:
    from rich.color import ColorSystem
    from rich.style import Style

    return lambda text, style: Style.parse(style).render(text, color_system=ColorSystem.STANDARD)
