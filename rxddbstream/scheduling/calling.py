"""Calling several functions, of which one may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def call_each(actions: Iterable[Callable[[], object]]) -> None:
    """Call all of them, whatever one raises; the first error is raised after the last call.

    >>> call_each([lambda: print("one"), lambda: 1 / 0, lambda: print("three")])
    Traceback (most recent call last):
    ZeroDivisionError: division by zero
    """
    first: BaseException | None = None
    for action in actions:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - raised below
            first = first or error
    if first is not None:
        raise first
