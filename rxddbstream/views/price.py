"""What reading a stream costs: AWS charges for calls of GetRecords, and for no others.

$0.02 for 100,000 in us-east-1, the first 2.5 million of a month free:
https://aws.amazon.com/dynamodb/pricing/on-demand/
"""

from __future__ import annotations

DOLLARS_PER_100_000_CALLS = 0.02
SECONDS_A_MONTH = 30 * 24 * 3600


def price(calls: float) -> float:
    """Dollars for so many calls, in us-east-1, without the free ones.

    >>> price(100_000)
    0.02
    """
    return calls * DOLLARS_PER_100_000_CALLS / 100_000


def price_a_month(calls_per_second: float) -> float:
    """Dollars for a month of 30 days at this pace.

    >>> price_a_month(4)
    2.0736
    """
    return price(calls_per_second * SECONDS_A_MONTH)


def in_dollars(amount: float) -> str:
    """An amount with as many decimals as it needs.

    >>> in_dollars(2.0736), in_dollars(0.00012), in_dollars(0), in_dollars(1234.5)
    ('$2.07', '$0.00012', '$0.00', '$1,234.50')
    """
    if 0 < amount < 0.01:
        return f"${amount:.2g}" if amount >= 0.0001 else f"${amount:.6f}"
    return f"${amount:,.2f}"
