"""Holding an element: each change in it is held by its origin, which is its shard's frontier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from rxddbstream.checkpoints.acknowledgement import Delivery, current
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
    return _deferred(element, _changes_in(element), delivery, must_know=must_know)


class Listed:
    """The delivery of a list: it stands for all changes in it, also where it is mapped to something else.

    Those that were in the list before it, as in a moving window, have had an element of their own.

    Args:
        changes: the list.
        before: the one before it.
        delivery: of the change with which it came.

    Attributes:
        delivery: that.
    """

    def __init__(self, changes: list[Any], before: list[Any], delivery: Delivery) -> None:
        self._changes = changes
        self._before = before
        self.delivery = delivery

    def defer(self) -> Callable[[], None]:
        """See `Delivery`.

        Raises:
            HeldTooLate: one of the changes counts as done already.
        """
        before = {id(change) for change in _changes_in(self._before)}
        new = [change for change in _changes_in(self._changes) if id(change) not in before]
        return _deferred(self._changes, new, self.delivery)


def defer_for_ever() -> None:
    """What is being delivered is never acknowledged: it could not be held."""
    delivery = current()
    while isinstance(delivery, Listed):
        delivery = delivery.delivery
    if delivery is not None:
        delivery.defer()


def _deferred(
    element: Any, changes: Iterable[Change], delivery: Delivery | None, *, must_know: bool = False
) -> Callable[[], None]:
    through: list[Callable[[], None]] = []
    for change in changes:
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
