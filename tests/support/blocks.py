"""The blocks of code in a page of the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """What stands between two fences, and the HTML comment right above them."""

    page: Path
    line: int
    marker: str
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    pattern = re.compile(r"^(?:<!-- ([^\n]+) -->\n)?```([\w{}-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        Block(page, text.count("\n", 0, found.start(3)), found[1] or "", found[2], found[3])
        for text in [page.read_text()]
        for found in pattern.finditer(text)
    ]
