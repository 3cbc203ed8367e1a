"""Functions that people give to be called for their effect: none may be a coroutine, which nobody awaits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from rxddbstream.errors import ConfigurationError

T = TypeVar("T")


def checked(function: Callable[[T], object], what: str) -> Callable[[T], None]:
    """The function, refused if it is a coroutine function; it raises if it turns out to return a coroutine.

    Args:
        what: its name, for the message.

    Raises:
        ConfigurationError: it is a coroutine function.
    """
    # An object may have a coroutine function for its `__call__`; `inspect` looks through a partial.
    if any(_is_coroutine_function(each) for each in (function, getattr(function, "__call__", None))):  # noqa: B004
        raise _never_awaited(what)

    def call(element: T) -> None:
        result = function(element)
        if result is not None and (inspect.iscoroutine(result) or inspect.isasyncgen(result)):
            if inspect.iscoroutine(result):  # a lambda around a coroutine function
                result.close()
            raise _never_awaited(what)

    return call


def _is_coroutine_function(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _never_awaited(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what} is a coroutine function, and nobody would await it here. "
        "Use `async for change in rxd.aiterate(source)`, or give a plain function"
    )
