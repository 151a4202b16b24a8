"""Commands in `zramfs exec`, as the tests run them."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from mounts import ZRAMFS, Mounted, is_zombie


def run_in(mounted: Mounted, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in `zramfs exec`."""
    return subprocess.run(
        [ZRAMFS, "exec", mounted.path, "--", "bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | environment,
    )


def begin(mounted: Mounted, script: str, *, says: str = "ready") -> "subprocess.Popen[str]":
    """Begin a shell script in `zramfs exec` that says something, and ends when its input does."""
    command = subprocess.Popen(
        [ZRAMFS, "exec", mounted.path, "--", "bash", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    assert command.stdout.readline() == f"{says}\n"
    return command


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and not is_zombie(pid)


def loops_over(mounted: Mounted) -> str:
    return "".join(
        subprocess.check_output(["losetup", "--associated", file], text=True) for file in mounted.path.glob("zram*")
    )
