"""Shard histories: what a simulated stream may begin with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias
from zlib import crc32

HASH_SPACE = 2**128

Shape: TypeAlias = Literal["roots", "chain", "tree", "random"]


@dataclass(frozen=True, slots=True)
class SimulatedShard:
    """A shard as a test sees it: a snapshot, or a description to begin a `SimulatedStream` with.

    Attributes:
        id: the shard's ID.
        parent_id: the shard that this one continues, or None. If there is no such shard, this one
            is an orphan.
        is_closed: nothing more is written to a closed shard.
        low, high: the items whose keys hash to low <= hash < high are written to this shard.
    """

    id: str
    parent_id: str | None = None
    is_closed: bool = False
    low: int = 0
    high: int = HASH_SPACE


def build_shards(
    n: int, shape: Shape | Sequence[int | None] = "roots", *, seed: int = 0
) -> list[SimulatedShard]:
    """Describe `n` shards, parents before children; the shards that have children are closed.

    Args:
        n: how many shards.
        shape: "roots" (unrelated), "chain" (each the child of the one before), "tree" (each splits
            into two), "random" (one to three of these, mixed) or, to the letter, every shard's
            parent: its index in the list, or None.
        seed: of the shape "random".

    >>> [shard.is_closed for shard in build_shards(3, "tree")]
    [True, False, False]
    >>> orphan, last = build_shards(3, "chain")[1:]
    >>> build_shards(3, [None, None, 0])[2].parent_id == build_shards(2)[0].id
    True
    """
    parents = _parents(n, shape, seed) if isinstance(shape, str) else list(shape)
    if len(parents) != n or any(p is not None and not 0 <= p < i for i, p in enumerate(parents)):
        raise ValueError(f"expected {n} indexes of parents, each before its children: {parents}")

    children: dict[int | None, list[int]] = {}
    for index, parent in enumerate(parents):
        children.setdefault(parent, []).append(index)
    ranges: dict[int | None, tuple[int, int]] = {None: (0, HASH_SPACE)}
    for parent in (None, *range(n)):  # parents come first: their ranges are known by their turn
        heirs = children.get(parent, [])
        ranges.update(zip(heirs, divide(*ranges[parent], len(heirs)), strict=True))

    return [
        SimulatedShard(
            id=shard_id(index),
            parent_id=None if parent is None else shard_id(parent),
            is_closed=index in children,
            low=ranges[index][0],
            high=ranges[index][1],
        )
        for index, parent in enumerate(parents)
    ]


def shard_id(number: int) -> str:
    """An ID that looks like one of AWS's; they sort as their numbers do."""
    name = f"shardId-{number:020d}"
    return f"{name}-{crc32(name.encode()):08x}"


def divide(low: int, high: int, count: int) -> list[tuple[int, int]]:
    """Cut a range of hashes into `count` equal pieces.

    >>> divide(0, 10, 2)
    [(0, 5), (5, 10)]
    """
    edges = [low + (high - low) * i // count for i in range(count + 1)] if count else []
    return list(pairwise(edges))


def _parents(n: int, shape: Shape, seed: int) -> list[int | None]:
    match shape:
        case "roots":
            return [None] * n
        case "chain":
            return [i - 1 if i else None for i in range(n)]
        case "tree":
            return [(i - 1) // 2 if i else None for i in range(n)]
        case "random":
            return _random_parents(n, random.Random(seed))
    raise ValueError(f"no such shape: {shape!r}")


def _random_parents(n: int, rng: random.Random) -> list[int | None]:
    roots = rng.randint(1, 3)
    parents: list[int | None] = []
    free: list[int] = []  # once for each child that a shard may still have
    for index in range(n):
        parents.append(free.pop(rng.randrange(len(free))) if index >= roots and free else None)
        free += [index] * 2
    return parents
