"""How long to wait: between polls, after failures, and for a share of the call budget.

Waits are seconds. Randomness and the clock come in as arguments.

Source for full jitter: https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from __future__ import annotations

from dataclasses import dataclass

from rxddbstream.errors import ConfigurationError

BACKOFF_BASE = 0.1
BACKOFF_CEILING = 20.0
IDLE_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Poll:
    """How often shards are asked for records.

    A page with records is followed by the next call at once. An empty one is followed by a wait
    of `fastest`, which grows up to `slowest` while the shard stays quiet.

    Attributes:
        fastest: seconds to wait after the first empty page.
        slowest: seconds to wait at most.
        calls_per_second: GetRecords calls a second for all shards together; None is no limit.
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
        """Seconds to wait after `count` empty pages in a row; none after a page with records."""
        if count == 0:
            return 0.0
        # The exponent is bounded: a shard that is idle for a day must not overflow a float.
        return min(self.slowest, self.fastest * IDLE_GROWTH ** min(count - 1, 50))


class CallBudget:
    """Gives out evenly spaced turns, `calls_per_second` of them.

    >>> budget = CallBudget(calls_per_second=10)
    >>> budget.wait(now=100.0), round(budget.wait(now=100.0), 1)
    (0.0, 0.1)
    """

    __slots__ = ("_interval", "_next_turn")

    def __init__(self, calls_per_second: float | None) -> None:
        self._interval = 1 / calls_per_second if calls_per_second else 0.0
        self._next_turn = 0.0

    def wait(self, now: float) -> float:
        """Take the next turn; seconds from `now` until it comes."""
        turn = max(now, self._next_turn)
        self._next_turn = turn + self._interval
        return turn - now


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
