"""A stream's shards as text, as a Mermaid flowchart and as HTML.

DynamoDB rolls every shard over, again and again; now and then one splits in two. So most shards have one
child, and only a split is drawn as a branching:

    a           the first of its line
    ↓ b         the only one that continues it
    ├── c       b has split
    │   ↓ d
    └── e
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape
from typing import NamedTuple

from rxddbstream.model.words import counted, length, printable
from rxddbstream.views.listed import ListedShard, ShardContent

DEEPEST = 12  # splits below each other; what is further down is drawn at the left again
WIDEST = 100  # columns that are kept free for the longest name
MOST_BOXES = 300
"""Mermaid draws at most 500 edges, of a text of at most 50,000 characters.

https://mermaid.js.org/config/schema-docs/config-properties-maxedges.html
https://mermaid.js.org/config/schema-docs/config-properties-maxtextsize.html
"""


class Style(NamedTuple):
    """The pieces that a tree is drawn with, before a shard and before those below it."""

    next: str
    branch: str
    beside: str
    last: str
    below: str


BOX = Style("↓ ", "├── ", "│   ", "└── ", "    ")
ASCII = Style("v ", "|-- ", "|   ", "`-- ", "    ")


class Row(NamedTuple):
    """A shard's place in a tree.

    Attributes:
        head: what is drawn before its name.
        shard: the shard.
        remark: what the drawing does not show, or "".
    """

    head: str
    shard: ListedShard
    remark: str


def rows(shards: Sequence[ListedShard], style: Style) -> Iterator[Row]:
    """Each shard once, parents before their children, with what is drawn before its name."""
    known = {shard.id: shard for shard in shards}
    children = _children(shards)
    shown: set[str] = set()
    # All of them after the roots, for those that no root leads to: a ring of parents.
    trees = deque([shard for shard in shards if shard.parent_id not in known] + list(shards))
    while trees:
        root = trees.popleft()
        if root.id in shown:
            continue
        too_deep: list[ListedShard] = []
        branch = [(root, "", "")]
        while branch:
            shard, head, trunk = branch.pop()
            if shard.id in shown:
                continue
            shown.add(shard.id)
            yield Row(head, shard, _remark(shard, known) if shard is root else "")
            heirs = [child for child in children[shard.id] if child.id not in shown]
            if len(heirs) == 1:
                branch.append((heirs[0], f"{trunk}{style.next}", trunk))
            elif len(trunk) >= DEEPEST * len(style.below):
                too_deep += heirs
            else:
                for heir in reversed(heirs):
                    mine, theirs = (
                        (style.last, style.below) if heir is heirs[-1] else (style.branch, style.beside)
                    )
                    branch.append((heir, f"{trunk}{mine}", f"{trunk}{theirs}"))
        trees.extendleft(reversed(too_deep))


def tree(shards: Sequence[ListedShard], now: datetime, style: Style = BOX) -> Iterator[str]:
    """A line for each shard."""
    placed = list(rows(shards, style))
    width = min(WIDEST, max((len(row.head) + len(row.shard.id) for row in placed), default=0))
    ages = [_age(row.shard, now) for row in placed]
    age_width = max(map(len, ages), default=0)
    for row, age in zip(placed, ages, strict=True):
        cells = [
            f"{row.head}{row.shard.id}".ljust(width),
            row.shard.state.ljust(6),
            *([age.ljust(age_width)] if age_width else []),
            "" if row.shard.content is None else content_in_words(row.shard.content, now),
        ]
        line = "  ".join(cells).rstrip()
        yield printable(f"{line}  ({row.remark})" if row.remark else line)


def mermaid(shards: Sequence[ListedShard], now: datetime) -> str:
    """A flowchart: a box for each shard, a dashed one for a closed shard."""
    boxes: list[str] = []
    box_of: dict[str, int] = {}  # by the shard's ID
    chains = _chains(shards)
    if len(shards) > MOST_BOXES:
        chains = [_without_middle(chain) for chain in chains]
    left_out = 0
    for shard, also in (place for chain in chains for place in chain):
        if len(boxes) == MOST_BOXES:
            left_out += 1 + len(also)
            continue
        box_of.update(dict.fromkeys([shard.id, *(one.id for one in also)], len(boxes)))
        lines = [f"{counted(len(also) + 1, 'shard')}, closed"] if also else [shard.id, shard.state]
        if not also:
            lines[1:] = [", ".join(filter(None, [shard.state, _age(shard, now)]))]
            if shard.content is not None:
                lines.append(content_in_words(shard.content, now))
        text = "<br>".join(map(_quoted, lines))
        boxes.append(f'    s{len(boxes)}["{text}"]{"" if shard.is_open else ":::closed"}')
    arrows = {
        f"    s{box_of[shard.parent_id]} --> s{box_of[shard.id]}": None
        for shard in shards
        if shard.parent_id in box_of and shard.id in box_of
        if shard.parent_id is not None and box_of[shard.parent_id] != box_of[shard.id]
    }
    more = [f'    more["and {counted(left_out, "shard")} more"]'] if left_out else []
    return "\n".join(["flowchart LR", *boxes, *more, *arrows, "    classDef closed stroke-dasharray: 4 4"])


def html(title: str, shards: Sequence[ListedShard], now: datetime) -> str:
    """The tree for a notebook; its colours are the page's own."""
    lines = zip(tree(shards, now), rows(shards, BOX), strict=True)
    text = "\n".join(
        escape(line) if row.shard.is_open else f'<span style="opacity:.65">{escape(line)}</span>'
        for line, row in lines
    )
    return (
        f"<div><b>{escape(title)}</b>"
        f'<pre style="max-height:30em;overflow:auto;line-height:1.3;color:inherit">{text}</pre></div>'
    )


def content_in_words(content: ShardContent, now: datetime) -> str:
    """How many changes, and of when, in the local time zone."""
    words = counted(content.changes, "change")
    if content.oldest is None or content.newest is None:
        return words
    first, last = _clock(content.oldest, now), _clock(content.newest, content.oldest)
    return f"{words}, {first}" if first.endswith(last) else f"{words}, {first} to {last}"


def _clock(time: datetime, other: datetime) -> str:
    """A time of the same day as another, which goes without saying, or of another day."""
    local = time.astimezone()
    return f"{local:%H:%M}" if local.date() == other.astimezone().date() else f"{local:%Y-%m-%d %H:%M}"


def _age(shard: ListedShard, now: datetime) -> str:
    return "" if shard.opened_at is None else f"opened {length((now - shard.opened_at).total_seconds())} ago"


def _children(shards: Sequence[ListedShard]) -> defaultdict[str, list[ListedShard]]:
    children: defaultdict[str, list[ListedShard]] = defaultdict(list)
    for shard in shards:
        if shard.parent_id is not None and shard.parent_id != shard.id:
            children[shard.parent_id].append(shard)
    return children


def _remark(root: ListedShard, known: dict[str, ListedShard]) -> str:
    if root.parent_id is None or root.parent_id == root.id:
        return ""
    if root.parent_id in known:
        return f"continues {root.parent_id}"
    return f"parent {root.parent_id} is not listed"


_Place = tuple[ListedShard, Sequence[ListedShard]]  # a shard, and others in the same box


def _chains(shards: Sequence[ListedShard]) -> list[list[_Place]]:
    """Runs of shards that have one child each, in the order in which they are drawn."""
    chains: list[list[_Place]] = []
    for head, shard, _ in rows(shards, BOX):
        if head.endswith(BOX.next):
            chains[-1].append((shard, ()))
        else:
            chains.append([(shard, ())])
    return chains


def _without_middle(chain: list[_Place]) -> list[_Place]:
    if len(chain) < 4:
        return chain
    (shard, _), *others = chain[1:-1]
    return [chain[0], (shard, [other for other, _ in others]), chain[-1]]


def _quoted(text: str) -> str:
    # https://mermaid.js.org/syntax/flowchart.html: entities are written with a # in place of the &.
    return "".join(one if one.isalnum() or one in " -_.,:/" else f"#{ord(one)};" for one in text)
