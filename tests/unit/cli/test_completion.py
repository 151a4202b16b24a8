"""What shells complete, in bash itself, and by click's own words where zsh and fish are not installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def completed(line: str) -> list[str]:
    """What bash would offer at the end of a line, as its completion function fills COMPREPLY."""
    words = line.split(" ")
    program = (
        'eval "$(zramfs completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_zramfs_completion zramfs "${COMP_WORDS[COMP_CWORD]}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "-c", program, "bash", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("zramfs um", ["umount"]),
        ("zramfs loop ", ["attach", "detach", "list"]),
        ("zramfs mount /tmp/z --algorithm lz4", ["lz4", "lz4hc"]),
        ("zramfs mount /tmp/z --accel qp", ["qpace", "qpace_urgent"]),
        ("zramfs mount /tmp/z --accel iaa,queue_d", ["iaa,queue_depth="]),
        ("zramfs accel show ia", ["iaa"]),
        ("zramfs status -o NAME,fail", ["NAME,FAILED-READS", "NAME,FAILED-WRITES"]),
        ("zramfs man com", ["compare", "completion"]),
        ("zramfs help loop at", ["attach"]),
        ("zramfs help loop attach ", []),
    ],
)
def test_bash_completes(line: str, expected: list[str]) -> None:
    assert completed(line) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/mnt/", [r"/mnt/a\ b", r"/mnt/\\", "/mnt/c,d"]),
        ('"/mnt/', ["/mnt/a b", "/mnt/\\", "/mnt/c,d"]),
        ("'/mnt/", ["/mnt/a b", "/mnt/\\", "/mnt/c,d"]),
    ],
)
def test_bash_gets_mount_points_as_it_reads_them(word: str, expected: list[str], tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text("#!/bin/sh\nprintf 'plain,%s\\n' '/mnt/a b' '/mnt/\\' /mnt/c,d")
    answer.chmod(0o700)
    program = (
        'eval "$(zramfs completion bash)"; COMP_WORDS=(zramfs status "$2"); COMP_CWORD=2; '
        '_zramfs_completion "$1"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    said = subprocess.check_output(["bash", "-c", program, "bash", answer, word], text=True, env=ENVIRONMENT)
    assert said.splitlines() == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_one_that_its_shell_reads(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(subprocess.check_output(["zramfs", "completion", shell], text=True, env=ENVIRONMENT))
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("line", ["zramfs loop attach /nowhere --device ", "zramfs loop attach --device zr"])
def test_devices_of_no_mount_are_none(line: str) -> None:
    assert completed(line) == []
