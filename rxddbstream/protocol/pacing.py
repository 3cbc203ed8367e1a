"""How long to wait: between polls, after failures, and for a share of the call budget.

Waits are seconds. Randomness and the clock come in as arguments.

Source for full jitter: https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from rxddbstream.errors import ConfigurationError

T = TypeVar("T")

BACKOFF_BASE = 0.1
BACKOFF_CEILING = 20.0
IDLE_GROWTH = 2.0
_SLACK = 16  # entries of the past that a heap may keep


@dataclass(frozen=True, slots=True)
class Poll:
    """How often shards are asked for records.

    A page with records is followed by the next call at once. An empty one is followed by a wait
    of `fastest`, which doubles up to `slowest` each time that the shard has been quiet for twice as long.

    Attributes:
        fastest: seconds to wait after an empty page of a shard that had a change just now.
        slowest: seconds to wait at most.
        calls_per_second: GetRecords calls a second for all shards together; None is no limit. Shards that
            are behind come first.
        give_up_after: how many seconds calls may fail in a row, throttling included, before the stream
            ends with the error; None goes on for ever.

    >>> Poll(fastest=0.5, slowest=2.0).after_empty_pages(1)
    0.5
    """

    fastest: float = 0.25
    slowest: float = 5.0
    calls_per_second: float | None = None
    give_up_after: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.fastest <= self.slowest:
            raise ConfigurationError(
                f"poll: 0 < fastest <= slowest is needed, not fastest={self.fastest}, slowest={self.slowest}"
            )
        for name in ("calls_per_second", "give_up_after"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(f"poll: {name} must be positive, not {value}")

    def after_empty_pages(self, count: int) -> float:
        """Seconds to wait after an empty page, once the wait has doubled `count - 1` times; for 0, none."""
        if count == 0:
            return 0.0
        # The exponent is bounded: a shard that is idle for a day must not overflow a float.
        return min(self.slowest, self.fastest * IDLE_GROWTH ** min(count - 1, 50))


def calls_per_second(poll: Poll, shards: int) -> tuple[float, float]:
    """How often that many open shards are asked: while all are idle, and at most.

    At most means that each `fastest` brings a page with a record, and an empty one.

    >>> calls_per_second(Poll(fastest=0.25, slowest=5.0), shards=10)
    (2.0, 80.0)
    """
    budget = poll.calls_per_second or float("inf")
    return min(budget, shards / poll.slowest), min(budget, shards * 2 / poll.fastest)


class CallBudget(Generic[T]):
    """Gives out evenly spaced turns, `calls_per_second` of them.

    Of two turns one goes to whoever is furthest behind, one to whoever has waited longest: a backlog is
    worked off first, and does not keep the quiet shards waiting for ever.

    >>> budget = CallBudget[str](calls_per_second=10)
    >>> [round(budget.join(who, lag, now=100.0), 1) for who, lag in [("a", 0), ("b", 0), ("c", 60)]]
    [0.0, 0.1, 0.2]
    >>> [budget.next(), budget.next(), budget.next()]
    ['c', 'a', 'b']
    """

    def __init__(self, calls_per_second: float) -> None:
        self._interval = 1 / calls_per_second
        self._next_turn = 0.0
        self._joined = count()
        self._waiting: dict[int, T] = {}  # in the order in which they joined
        self._furthest: list[tuple[float, int]] = []  # a heap; some in it have had their turn
        self._lag_first = True

    def join(self, who: T, lag: float, now: float) -> float:
        """Wait for a turn, being `lag` seconds behind; seconds until there is one, for somebody."""
        number = next(self._joined)
        self._waiting[number] = who
        heappush(self._furthest, (-lag, number))
        turn = max(now, self._next_turn)
        self._next_turn = turn + self._interval
        return turn - now

    def next(self) -> T:
        """Whose turn it is; to be called once for each that joined, when the turn has come."""
        if self._lag_first:
            while (number := heappop(self._furthest)[1]) not in self._waiting:
                pass
        else:
            number = next(iter(self._waiting))
        self._lag_first = not self._lag_first
        who = self._waiting.pop(number)
        if len(self._furthest) > 2 * len(self._waiting) + _SLACK:
            self._furthest = [entry for entry in self._furthest if entry[1] in self._waiting]
            heapify(self._furthest)
        return who


def backoff(
    attempt: int, jitter: float, base: float = BACKOFF_BASE, ceiling: float = BACKOFF_CEILING
) -> float:
    """Seconds to wait after the `attempt`th failure in a row (from 1), with full jitter.

    Args:
        jitter: a random number in [0, 1).
        base: the most to wait after the first failure.
        ceiling: the most to wait ever.

    >>> backoff(attempt=3, jitter=0.5)
    0.2
    """
    return jitter * min(ceiling, base * 2.0 ** min(attempt - 1, 50))
