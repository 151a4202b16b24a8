import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["mont", "/m"], "zramfs: There is no verb 'mont'; did you mean mount?"),
        (["mount", "--sise", "1G", "/m"], "did you mean --size?"),
        (["loop", "atach", "/m"], "zramfs loop: There is no verb 'atach'; did you mean attach?"),
        (["help", "loop", "lst"], "zramfs loop: There is no verb 'lst'; did you mean list?"),
        (["help", "loop", "list", "more"], "'zramfs loop list' has no verbs, and 'more' is one too many"),
        (["man", "statsu"], "did you mean status?"),
    ],
)
def test_misspelt_name_is_told_what_was_meant(arguments: list[str], meant: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zramfs", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert meant in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["mount", ""],
        ["umount", ""],
        ["status", ""],
        ["loop", "list", ""],
        ["man", "--write", ""],
        ["mount", "/nowhere", "--log", ""],
        ["mount", "/nowhere", "--pid-file="],
    ],
)
def test_empty_name_of_a_file_is_not_the_working_directory(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zramfs", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the name is empty" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["top", "--once", "--interval", "nan"], ["compare", "--runtime", "nan"]])
def test_time_that_is_no_number_is_out_of_range(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zramfs", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nan is not in the range" in done.stderr


def test_help_of_a_verb_is_its_own() -> None:
    shown = [
        subprocess.check_output([sys.executable, "-m", "zramfs", *words], text=True, timeout=60)
        for words in (["help", "unmount"], ["umount", "--help"])
    ]
    assert shown[0].partition("\n\n")[2] == shown[1].partition("\n\n")[2]
