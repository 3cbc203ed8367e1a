"""Who is called with each element: a person's function, also inside RxPY's own observers.

These call what they were made of and drop what it returns. So a coroutine function in one of them would be
called with every change, handle none, and have them all count as done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactivex import Observer, abc
from reactivex.observer import AutoDetachObserver

from rxddbstream.model.callback import checked

_LIBRARIES = frozenset({"reactivex", "rxddbstream"})


def taker(observer: Any, what: str) -> Callable[[Any], Any]:
    """What to call with each element: the function, or the observer's `on_next`.

    Args:
        observer: an observer, or a function.
        what: its name, for the message.

    Raises:
        ConfigurationError: what it calls in the end is a coroutine function. It is raised with the first
            element where only the coroutine that is returned tells so.
    """
    on_next: Callable[[Any], Any] = observer.on_next if isinstance(observer, abc.ObserverBase) else observer
    inner = _called_by(on_next)
    if inner is None:
        return checked(on_next, what)
    take = taker_unless_known(inner, what)
    if take is inner:
        return on_next
    stoppable: Any = getattr(on_next, "__self__")  # noqa: B009

    def call(element: Any) -> None:
        if not stoppable.is_stopped:
            take(element)

    return call


def taker_unless_known(on_next: Any, what: str) -> Callable[[Any], Any]:
    """The same, without a call more for what RxPY and we have made: it returns nothing."""
    if _called_by(on_next) is None and _is_known(on_next):
        return on_next  # type: ignore[no-any-return]
    return taker(on_next, what)


def _called_by(on_next: Any) -> Any:
    """What an observer of RxPY's has been given to call, if this is the `on_next` of one."""
    function, owner = getattr(on_next, "__func__", None), getattr(on_next, "__self__", None)
    if function is Observer.on_next and isinstance(owner, Observer):
        core = owner._on_next_core  # a subclass may have one of its own
        is_overridden = getattr(core, "__func__", None) is not Observer._on_next_core
        return core if is_overridden else owner._handler_on_next
    if function is AutoDetachObserver.on_next and isinstance(owner, AutoDetachObserver):
        return owner._on_next
    return None


def _is_known(function: Any) -> bool:
    return str(getattr(function, "__module__", None)).partition(".")[0] in _LIBRARIES
