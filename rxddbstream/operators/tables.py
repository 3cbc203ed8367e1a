"""A table of the latest change of each item: `latest_by_key`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, overload

from reactivex import Observable, defer
from reactivex import operators as ops

from rxddbstream.model.change import Change
from rxddbstream.model.times import Seconds
from rxddbstream.operators.recent import Recent

K = TypeVar("K", bound=Hashable)

Latest = Mapping[K, Change]


@overload
def latest_by_key(
    *, ttl: Seconds | None = None, max_keys: int | None = None
) -> Callable[[Observable[Change]], Observable[Latest[Any]]]: ...


@overload
def latest_by_key(
    *, key: Callable[[Change], K], ttl: Seconds | None = None, max_keys: int | None = None
) -> Callable[[Observable[Change]], Observable[Latest[K]]]: ...


def latest_by_key(
    *,
    key: Callable[[Change], Any] | None = None,
    ttl: Seconds | None = None,
    max_keys: int | None = None,
) -> Callable[[Observable[Change]], Observable[Latest[Any]]]:
    """Keep a table of the latest change of each item, and emit it after each change.

    ::

        source                  -insert a------insert b-------modify a-------remove b-----
        latest_by_key()         -{a: insert}---{a: insert,----{a: modify,----{a: modify}--
                                                b: insert}     b: insert}

    What is emitted is always the same read-only view of the table as it is: to copy it would cost more with
    every item. Look at it in `on_next`; `dict(view)` is a copy to keep or to take to another thread. Its
    values are changes, not images, which some view types leave out: `view["o-1"].new_image["total"]`.

    An item that is removed leaves the table. So does one that has not changed for `ttl`, and the one that
    has not changed for the longest time when there are more than `max_keys`. Without either, the table grows
    with the number of items that change.

    The table is not restored from checkpoints: it begins empty, with the changes that are read.

    Args:
        key: what to keep the latest change of. Left out, the item: the value of its key, or of a key of two
            attributes a tuple of both, in order of their names.
        ttl: seconds or a timedelta, by the changes' own time: the newest one that was seen.
        max_keys: how many items to keep.

    Raises:
        ConfigurationError: `ttl` or `max_keys` is not positive.

    >>> import rxddbstream as rxd
    >>> from reactivex import operators as ops
    >>> from rxddbstream import operators as dops
    >>> open_orders = rxd.changes("orders").pipe(dops.latest_by_key(ttl=3600), ops.map(len))
    """
    key_of = key or _key_of
    Recent[Any](ttl, max_keys)  # what is wrong is said now, not when somebody subscribes

    def apply(source: Observable[Change]) -> Observable[Latest[Any]]:
        def begin(_: object) -> Observable[Latest[Any]]:
            recent = Recent[Any](ttl, max_keys)
            latest: dict[Any, Change] = {}
            view = MappingProxyType(latest)

            def take(change: Change) -> Latest[Any]:
                for gone in recent.advance(change):
                    del latest[gone]
                name = key_of(change)
                if change.event_name == "REMOVE":
                    recent.discard(name)
                    latest.pop(name, None)
                else:
                    latest[name] = change
                    for gone in recent.add(name):
                        del latest[gone]
                return view

            return source.pipe(ops.map(take))

        return defer(begin)

    return apply


def _key_of(change: Change) -> Any:
    values = tuple(value for _, value in sorted(change.keys.items()))
    return values[0] if len(values) == 1 else values
