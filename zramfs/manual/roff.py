"""Text as roff for man(7): escapes, paragraphs, lists, examples. Prose is a little Markdown."""

import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

_ESCAPES: Final = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"})
_MARK: Final = re.compile(r"`([^`]+)`|\*([^*]+)\*")
_ITEM: Final = re.compile(r"- (?P<term>`[^`]+`(?:, `[^`]+`)*): (?P<text>.*)", re.DOTALL)
_WIDTH: Final = 78


def escape(text: str) -> str:
    """Return text that roff prints as it is."""
    escaped = text.translate(_ESCAPES)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def bold(text: str) -> str:
    """Return text in bold: what is to be typed."""
    return f"\\fB{escape(text)}\\fR"


def italic(text: str) -> str:
    """Return text in italics: what something is to be put for."""
    return f"\\fI{escape(text)}\\fR"


def inline(text: str) -> str:
    """Return a paragraph with its `code` in bold and its *placeholders* in italics."""
    parts, end = [], 0
    for mark in _MARK.finditer(text):
        parts += [escape(text[end : mark.start()]), bold(mark[1]) if mark[1] else italic(mark[2])]
        end = mark.end()
    return fill("".join([*parts, escape(text[end:])]))


def fill(text: str) -> str:
    """Wrap lines of roff; none of them begins as a request would."""
    lines = textwrap.wrap(" ".join(text.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)


def section(heading: str) -> str:
    """Begin a section."""
    return f".SH {heading.upper()}"


def term(tagged: str, text: str) -> str:
    """Return an item of a list: what is explained, itself roff, and the explanation, roff as well."""
    return f".TP\n{tagged}\n{text}"


def example(text: str) -> str:
    """Return lines that stay as they are."""
    return "\n".join([".PP", ".RS 4", ".nf", *(escape(line) or "\\&" for line in text.splitlines()), ".fi", ".RE"])


def prose(text: str) -> Iterator[str]:
    """Return the roff of Markdown: `## Heading`, paragraphs, blocks of code, and lists of ``- `term`: explanation``."""
    for block in re.split(r"\n\n(?![ ])|(?<=\n)(?=## |- )", text.strip()):
        stripped = block.strip()
        item = _ITEM.fullmatch(stripped)
        if stripped.startswith("## "):
            yield section(stripped.removeprefix("## "))
        elif stripped.startswith("```"):
            yield example("\n".join(stripped.splitlines()[1:-1]))
        elif item is not None:
            yield term(inline(item["term"]), inline(item["text"]))
        elif stripped:
            yield f".PP\n{inline(stripped)}"


def joined(parts: Iterable[str]) -> str:
    """Return a page of its parts, without paragraphs and breaks that have nothing to part."""
    lines = [line for part in parts for line in part.splitlines()]
    kept: list[str] = []
    for line in lines:
        if line.startswith((".SH", ".SS", ".TP", ".PP")):
            while kept and kept[-1] in (".PP", ".br"):
                kept.pop()
        if line in (".PP", ".br") and kept and kept[-1].startswith((".SH", ".SS")):
            continue
        kept.append(line)
    return "\n".join([*kept, ""])
