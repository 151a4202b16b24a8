"""Programs that have a disk by `zramfs.mount`, run for a test."""

import subprocess
import sys
import time
from pathlib import Path

from mounts import is_mounted, is_zombie


def wait_until_gone(path: Path, pid: int = 0) -> None:
    deadline = time.monotonic() + 60
    while is_mounted(path) or path.exists() or (pid and not is_zombie(pid)):
        assert time.monotonic() < deadline, f"{path} stays"
        time.sleep(0.05)


def started(tmp_path: Path, within: str) -> tuple[subprocess.Popen[str], Path, int]:
    """A program that has a disk and does something within; its mount point and daemon."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, time, zramfs\n"
        "with zramfs.mount(size='64M') as disk:\n"
        "    print(disk.path, disk.status().daemon.pid, flush=True)\n"
        f"    {within}\n"
    )
    process = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    path, pid = process.stdout.readline().split()
    return process, Path(path), int(pid)
