"""--strict-machine: what a machine lacks is an error, and what makes no test is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from strict_machine import is_error

SYSTEM = Path(__file__).parents[1] / "system"


@pytest.mark.parametrize(
    "reason",
    [
        "mounts, loop devices and swap need root",
        "no /dev/fuse",
        "no fusermount3",
        "no loop devices here",
        "the kernel has no zram here",
        "fio is not installed",
    ],
)
def test_what_tests_of_mounts_need_is_an_error_where_it_is_missing(reason: str) -> None:
    assert is_error(reason)


def test_what_makes_no_test_is_none() -> None:
    assert not is_error("Skipped: the companion brings requests to the rings")


@pytest.mark.parametrize(("options", "ends_with"), [((), 0), (("--strict-machine",), 1)], ids=["lenient", "strict"])
def test_a_machine_without_fusermount3_fails_if_it_has_to_have_it(options: tuple[str, ...], ends_with: int) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", SYSTEM / "test_libraries.py"]
    done = subprocess.run(
        [*command, "--transports", "dev", *options],
        cwd=SYSTEM.parents[1],
        env=os.environ | {"PATH": "/none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ends_with, done.stdout
    assert "no fusermount3" in done.stdout or "need root" in done.stdout
