"""The code of a page of docs/, as its reader copies it."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"(?:^`(?P<file>[\w./-]+)`[^\n]*:\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A block of code; `file` is the name of the file that the line above says it is."""

    language: str
    text: str
    file: str
    line: int


def blocks_of(page: str, section: str = "") -> list[Block]:
    """Return the blocks of a page, or of the section with this heading; there are some."""
    text = (ROOT / page).read_text()
    begin, end = 0, len(text)
    if section:
        found = re.search(rf"^(#+) {re.escape(section)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
        assert found is not None, f"{page} has no section {section!r}"
        begin, end = found.span()
    blocks = [
        Block(found["language"], found["text"], found["file"] or "", text.count("\n", 0, found.start("text")))
        for found in _BLOCK.finditer(text, begin, end)
    ]
    assert blocks
    return blocks
