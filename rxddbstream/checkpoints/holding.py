"""Holding an element: each change in it is held by its origin, which is its shard's frontier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rxddbstream.errors import HeldTooLate
from rxddbstream.model.change import Change, place_of


def hold(element: Any) -> bool:
    """Keep a change, or those of a list or tuple, from being checkpointed until they are released.

    Returns:
        False when it is too late for one of them; see `Frontier.hold`.
    """
    held = [change.origin.hold(change) for change in _changes_in(element) if change.origin is not None]
    return all(held)


def release(element: Any) -> None:
    """Take back one `hold` of a change, or of those of a list or tuple."""
    for change in _changes_in(element):
        if change.origin is not None:
            change.origin.release(change)


def too_late(element: Any) -> HeldTooLate:
    """The error for what could not be held."""
    changes = list(_changes_in(element))
    what = place_of(changes[0]) if changes else type(element).__name__
    if len(changes) > 1:
        what = f"a list of {len(changes)} changes (the first: {what})"
    return HeldTooLate(
        f"{what} was handed over before it was held, and may count as done already; "
        "put hold() before the first operator that keeps changes"
    )


def _changes_in(element: Any) -> Iterator[Change]:
    if isinstance(element, Change):
        yield element
    elif isinstance(element, list | tuple):
        for part in element:
            yield from _changes_in(part)
