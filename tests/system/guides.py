"""The code of a page of docs/, as its reader copies it."""

import os
import re
import subprocess
import sysconfig
import venv
from collections.abc import Iterable
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


def sections_of(page: str) -> list[str]:
    """Return the headings of a page's sections."""
    return re.findall(r"^## (.+)$", (ROOT / page).read_text(), re.MULTILINE)


def own_environment(folder: Path) -> dict[str, str]:
    """An environment of its own that has what ours has; pip neither asks an index nor builds in isolation."""
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    ours = sysconfig.get_path("purelib")
    theirs = next(folder.glob("lib/python*/site-packages"))
    (theirs / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    for name, module in (("pip", "pip --quiet"), ("zramfs", "zramfs.cli.main")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {python} -m {module} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    return os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def follow(blocks: Iterable[Block], folder: Path, environment: dict[str, str]) -> str:
    """Write the files, type the commands; what they print. Mount points are the test's."""
    printed = ""
    for block in blocks:
        text = block.text.replace("/tmp/z", str(folder / "z"))  # noqa: S108 - as the page has it
        if block.file:
            (folder / block.file).parent.mkdir(exist_ok=True)
            (folder / block.file).write_text(text)
        elif block.language == "sh":
            command = ["bash", "-e", "-c", text]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
            assert done.returncode == 0, f"line {block.line}: {done.stdout}{done.stderr}"
            printed += done.stdout
    return printed
