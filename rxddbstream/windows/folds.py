"""What becomes of a window's changes: counts, sums, and the like.

A fold begins with `seed()`, takes in one change after another with `step`, and makes the window's value of
it with `result`. It needs no merging of two halves: sessions are put together before they are folded; see
`rxddbstream.windows.sessions`.

    changes           3     1     4
    sum_of    seed 0 -> 3 -> 4 -> 8     result 8
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, Generic, Protocol, TypeVar, overload

T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


Comparable = TypeVar("Comparable", bound=_Ordered)
Number = TypeVar("Number", int, float, Decimal)

# Sums are exact: DynamoDB's numbers have 38 digits between 1E-130 and 1E+126; Python's default rounds to 28.
_SUM = Context(prec=300)
_QUOTIENT = Context(prec=38)


@dataclass(frozen=True, slots=True)
class Fold(Generic[T, A, R]):
    """How the changes of one window become its value.

    Attributes:
        seed: makes the accumulator of a new window.
        step: takes one change in, and returns the accumulator; it may be the same one, changed.
        result: makes the value of a closed window.

    >>> longest = Fold(lambda: "", lambda best, text: max(best, text, key=len), lambda best: best)
    >>> longest.of(["a", "ccc", "bb"])
    'ccc'
    """

    seed: Callable[[], A]
    step: Callable[[A, T], A]
    result: Callable[[A], R]

    def of(self, items: list[T]) -> R:
        """The value of one window with these changes."""
        accumulator = self.seed()
        for item in items:
            accumulator = self.step(accumulator, item)
        return self.result(accumulator)


def _same(value: T) -> T:
    return value


def fold(seed: Callable[[], A], step: Callable[[A, T], A]) -> Fold[T, A, A]:
    """A fold of one's own, whose accumulator is the value.

    >>> fold(list, lambda items, item: [*items, item]).of([1, 2])
    [1, 2]
    """
    return Fold(seed, step, _same)


def count() -> Fold[Any, int, int]:
    """How many changes.

    >>> count().of(["a", "b"])
    2
    """
    return Fold(int, lambda number, _: number + 1, _same)


def sum_of(get: Callable[[T], Number]) -> Fold[T, Any, Number]:
    """The sum of what `get` takes from each change; exact for `int` and `Decimal`.

    >>> sum_of(lambda order: order["total"]).of([{"total": 3}, {"total": 4}])
    7
    """
    zero: Any = 0
    return Fold(lambda: zero, lambda total, item: _plus(total, get(item)), _same)


@overload
def mean(get: Callable[[T], Decimal]) -> Fold[T, Any, Decimal]: ...
@overload
def mean(get: Callable[[T], float]) -> Fold[T, Any, float]: ...
def mean(get: Callable[[T], Any]) -> Fold[T, Any, Any]:
    """The mean of what `get` takes from each change; of integers it is a float.

    >>> mean(lambda order: order["total"]).of([{"total": 3}, {"total": 4}])
    3.5
    """
    return Fold(lambda: (0, 0), lambda both, item: (_plus(both[0], get(item)), both[1] + 1), _quotient)


def minimum(get: Callable[[T], Comparable]) -> Fold[T, Any, Comparable]:
    """The least of what `get` takes from each change.

    >>> minimum(len).of(["ccc", "a", "bb"])
    1
    """

    def step(least: Any, item: T) -> Any:
        value = get(item)
        return value if least is _NOTHING or value < least else least

    return Fold(_nothing, step, _same)


def maximum(get: Callable[[T], Comparable]) -> Fold[T, Any, Comparable]:
    """The greatest of what `get` takes from each change.

    >>> maximum(len).of(["ccc", "a", "bb"])
    3
    """

    def step(greatest: Any, item: T) -> Any:
        value = get(item)
        return value if greatest is _NOTHING or greatest < value else greatest

    return Fold(_nothing, step, _same)


def latest(by: Callable[[T], Any] | None = None) -> Fold[T, Any, T]:
    """The last change.

    Args:
        by: what orders them. Without it, it is the one that came last; for the changes of one item, which
            come in their order, that is the newest.

    >>> latest().of(["a", "c", "b"]), latest(by=ord).of(["a", "c", "b"])
    ('b', 'c')
    """
    if by is None:
        return Fold(_nothing, lambda _, item: item, _same)

    def step(last: Any, item: T) -> Any:
        return item if last is _NOTHING or not by(item) < by(last) else last

    return Fold(_nothing, step, _same)


def distinct_count(get: Callable[[T], Hashable]) -> Fold[T, set[Hashable], int]:
    """How many different values `get` takes from the changes. It keeps them all while the window is open.

    >>> distinct_count(str.lower).of(["a", "b", "A"])
    2
    """

    def step(seen: set[Hashable], item: T) -> set[Hashable]:
        seen.add(get(item))
        return seen

    return Fold(set, step, len)


_NOTHING: Any = object()  # None is a value that a window may have


def _nothing() -> Any:
    return _NOTHING


def _plus(total: Any, value: Any) -> Any:
    return _SUM.add(total, value) if isinstance(value, Decimal) else total + value


def _quotient(both: tuple[Any, int]) -> Any:
    total, number = both
    return _QUOTIENT.divide(total, Decimal(number)) if isinstance(total, Decimal) else total / number
