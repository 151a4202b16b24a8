"""docs/library.md, word by word: its programs run, its test suite passes, and all of it is typed."""

import subprocess
import sys
from pathlib import Path

import pytest
from guides import ROOT, Block, blocks_of

BLOCKS = blocks_of("docs/library.md")
PROGRAMS = [block for block in BLOCKS if block.language == "python" and not block.file]


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: f"line{block.line}")
def test_a_program_of_the_page_runs(block: Block, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(block.text)
    done = run(sys.executable, "-W", "error", program, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_test_suite_of_the_page_passes(tmp_path: Path) -> None:
    for block in BLOCKS:
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    done = run(sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_page_passes_mypy_strictly(tmp_path: Path) -> None:
    for number, block in enumerate(block for block in BLOCKS if block.language == "python"):
        (tmp_path / f"program{number}.py").write_text(block.text)
    files = sorted(tmp_path.glob("*.py"))
    checked = run(
        "env", f"MYPYPATH={ROOT}", sys.executable, "-m", "mypy", "--strict", "--config-file=", *files, cwd=tmp_path
    )
    assert checked.returncode == 0, checked.stdout
