"""What comments and docstrings cite is there: a path from the top of the repository, or a file by its name."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("zramfs", "tests", "scripts", "contrib", "docs", ".ci")
SUFFIXES = (".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".sh")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
THERE = {str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()}

_TEXTS = re.compile(r'"""(.*?)"""|(?:^|\s)#(.*?)$|/\*(.*?)\*/|//(.*?)$', re.DOTALL | re.MULTILINE)
_PATH = re.compile(rf"(?<![\w./~<-])((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*[\w*])")
_NAME = re.compile(r"`((?:\w+/)*\w+\.(?:py|pyx|pxd|pyi))`")

_TO_FILL_IN = re.compile(r"\b(NAME|VERB)\.")

ELSEWHERE = {"test_full_disk.py", "test_on_a_disk.py", "try_zramfs.py", "zramfs/accel/driver.pyx"}
"""Files that the pages have somebody write, and one of a made-up backtrace."""


def texts_of(path: Path) -> str:
    """Return the comments and docstrings of a source; all of a page but what it has somebody type."""
    text = path.read_text()
    if path.suffix == ".md":
        return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join("".join(part or "" for part in found.groups()) for found in _TEXTS.finditer(text))


def cited(text: str) -> Iterator[str]:
    for name in (*(name.rstrip(".") for name in _PATH.findall(text)), *_NAME.findall(text)):
        if not _TO_FILL_IN.search(name):
            yield name


def is_there(name: str) -> bool:
    """Whether there is such a path, with stars in it or not, or a file whose path ends so."""
    return any(ROOT.glob(name)) or any(f"/{each}".endswith(f"/{name}") for each in THERE)


@pytest.mark.parametrize("path", [*FILES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_cited_files_are_there(path: Path) -> None:
    missing = {name for name in cited(texts_of(path)) if not is_there(name)}
    assert missing - ELSEWHERE == set()


def test_citations_are_seen() -> None:
    text = "See docs/no-such-page.md, `no_such.py` and tests/unit/disks.py, <docs/not-ours.md>, /usr/docs/x.md."
    assert list(cited(text)) == ["docs/no-such-page.md", "tests/unit/disks.py", "no_such.py"]
    assert [is_there(name) for name in cited(text)] == [False, True, False]
    assert is_there("scripts/*.sh")
