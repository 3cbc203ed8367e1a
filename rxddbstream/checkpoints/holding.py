"""Holding an element: each change in it is held by its origin, which is its shard's frontier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rxddbstream.checkpoints.acknowledgement import current
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


def defer(element: Any, *, must_know: bool = False) -> Callable[[], None]:
    """Put off the acknowledgement of an element that is handed over, and of all changes in it.

    Args:
        must_know: whether it has to be known what the element stands for.

    Returns:
        What to call once it is done.

    Raises:
        HeldTooLate: one of its changes counts as done already; or nobody knows which changes it stands for.
    """
    delivery = current()
    through: list[Callable[[], None]] = []
    for change in _changes_in(element):
        origin = change.origin
        if origin is None or (origin is delivery and origin.current is change):
            continue
        if not origin.hold_back(change):
            raise too_late(element)
        through.append(partial(origin.release, change))
    if delivery is not None:
        through.append(delivery.defer())
    if must_know and not through and not _is_empty(element):
        raise HeldTooLate(
            f"an element of type {type(element).__name__} came from another thread than the changes that it "
            "stands for, which may count as done already; put hold() before the operator that keeps them, "
            "and release() behind it"
        )
    if len(through) == 1:
        return through[0]

    def done() -> None:
        for each in through:
            each()

    return done


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


def _is_empty(element: Any) -> bool:
    return isinstance(element, list | tuple) and all(_is_empty(part) for part in element)
