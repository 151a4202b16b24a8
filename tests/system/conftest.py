"""Real mounts, loop devices and programs. Whatever a test leaves behind is taken away here, also when it fails."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from mounts import Mounted, is_mounted, zramfs

_OF_THE_HOST: Final = {
    "test_compare",
    "test_copies",
    "test_dead_daemon",
    "test_exec",
    "test_exec_views",
    "test_hostile_mount",
    "test_hot_plug",
    "test_kernel_comparison",
    "test_loop_and_swap",
    "test_users",
}
"""Tests that look at all swap, loop devices or processes, or measure: one at a time, while others run beside them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    reason = _why_no_mounts()
    for item in items:
        if here not in item.path.parents:
            continue
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
        if item.path.stem in _OF_THE_HOST:
            item.add_marker(pytest.mark.xdist_group("host"))


def _why_no_mounts() -> str:
    if os.geteuid() != 0:
        return "mounts, loop devices and swap need root"
    if not Path("/dev/fuse").exists():
        return "no /dev/fuse"
    return "" if shutil.which("fusermount3") else "no fusermount3"


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Mounted]]:
    """Mount with the options given; each mount gets a folder of its own."""
    mounts: list[Mounted] = []

    def make(*options: object, size: str | None = "256M", companion: bool = True) -> Mounted:
        path = tmp_path / f"mnt{len(mounts)}"
        path.mkdir()
        log = tmp_path / f"log{len(mounts)}"
        sizes = ("--size", size) if size else ()
        result = zramfs("mount", path, *sizes, "--log-file", log, *options, companion=companion)
        assert result.returncode == 0, result.stderr
        mounts.append(Mounted(path, log))
        return mounts[-1]

    yield make
    for mounted in mounts:
        _take_away(mounted)
        assert "Traceback" not in mounted.log.read_text(), mounted.log.read_text()


def _take_away(mounted: Mounted) -> None:
    if is_mounted(mounted.path):
        with suppress(OSError):  # a dead mount cannot be looked at, and umount takes away what it has left
            for device in mounted.path.glob("zram*"):
                _detach_loops(device)
        if zramfs("umount", mounted.path).returncode != 0:
            subprocess.run(["fusermount3", "-u", "-z", mounted.path], check=False)
    if mounted.is_running():
        os.kill(mounted.pid, signal.SIGTERM)
        mounted.wait_for_daemon_end()


def _detach_loops(block_file: Path) -> None:
    listed = subprocess.run(
        ["losetup", "-j", block_file, "-n", "-O", "NAME"], capture_output=True, text=True, check=False
    )
    for loop in listed.stdout.split():
        if f"{loop} " in Path("/proc/swaps").read_text():
            subprocess.run(["swapoff", loop], check=False)
        subprocess.run(["umount", "-q", loop], check=False)
        subprocess.run(["losetup", "-d", loop], check=False)


@pytest.fixture
def fio() -> Callable[..., None]:
    """Write and verify a file with fio; fails if a byte differs."""
    if shutil.which("fio") is None:
        pytest.skip("fio is not installed")

    verified = ("--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0")

    def run(file: Path, *options: str) -> None:
        result = subprocess.run(
            ["fio", "--name=test", f"--filename={file}", *verified, *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr

    return run
