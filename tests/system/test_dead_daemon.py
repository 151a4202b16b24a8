import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import MIB, ZRAMFS, AttachedLoop, Mounted, is_mounted, kill_with_its_fusermount, zramfs

Mount = Callable[..., Mounted]

HOLD = """
import sys, time
from zramfs.compare.memory_hog import memory_limit
with memory_limit(16 << 20):
    held = [bytearray(page) for page in [b"x" * 4096] * 8192]
    print("held", flush=True)
    time.sleep(60)
"""


def swaps() -> str:
    return Path("/proc/swaps").read_text()


@pytest.fixture
def swap_on() -> Callable[[Mounted], str]:
    if not Path("/dev/loop-control").exists():
        pytest.skip("no loop devices here")

    def turn_on(mounted: Mounted) -> str:
        result = zramfs("swap", "on", mounted.path)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    return turn_on


def test_dead_mount_is_unmounted(mount: Mount) -> None:
    mounted = mount()
    kill_with_its_fusermount(mounted)
    assert is_mounted(mounted.path)
    done = zramfs("umount", mounted.path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not is_mounted(mounted.path)


def test_scripts_that_clean_up_at_their_end_work_with_a_dead_mount(mount: Mount) -> None:
    mounted = mount()
    kill_with_its_fusermount(mounted)
    script = f'set -e; M={mounted.path}; trap \'{ZRAMFS} umount "$M"; rmdir "$M"\' EXIT; true'
    assert subprocess.run(["bash", "-c", script], check=False).returncode == 0
    assert not mounted.path.exists()


def test_umount_of_what_is_not_mounted_is_an_error_unless_told(tmp_path: Path) -> None:
    refused = zramfs("umount", tmp_path)
    assert (refused.returncode, refused.stderr) == (1, f"zramfs: no zramfs is mounted at {tmp_path}\n")
    done = zramfs("umount", "--if-mounted", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_lazy_umount_ends_the_daemon_with_the_last_user(mount: Mount) -> None:
    mounted = mount()
    fd = os.open(mounted.file, os.O_RDWR)
    assert zramfs("umount", "--lazy", mounted.path).returncode == 0
    assert not is_mounted(mounted.path)
    assert os.pwrite(fd, b"still", 0) == 5
    assert os.pread(fd, 5, 0) == b"still"
    assert mounted.is_running()
    os.close(fd)
    mounted.wait_for_daemon_end()


def test_swap_of_a_dead_daemon_ends_and_what_is_lost_is_said(mount: Mount, swap_on: Callable[[Mounted], str]) -> None:
    mounted = mount()
    loop = swap_on(mounted)
    attached = AttachedLoop.of(loop)
    holder = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        if not holder.stdout.readline():
            pytest.skip("no memory cgroup here")
        assert _used_bytes(loop) > 8 * MIB
        _lift_limit(holder.pid)  # of a full group, the kernel says ENOMEM: it charges a page before it reads it
        kill_with_its_fusermount(mounted)
        off = zramfs("swap", "off", mounted.path)
        assert off.returncode == 0, off.stderr
        assert f"swapped out to {loop} are lost" in off.stderr
        assert off.stderr.count("\n") == 1
        assert f"{loop} " not in swaps()
        assert not attached.is_attached()
    finally:
        holder.kill()
        holder.communicate()
        if f"{loop} " in swaps():  # or all that is swapped out after this is lost
            subprocess.run(["swapoff", loop], check=False)
        _remove_group(holder.pid)


def _used_bytes(loop: str) -> int:
    return next(int(line.split()[3]) * 1024 for line in swaps().splitlines() if line.startswith(f"{loop} "))


def _groups(pid: int) -> list[Path]:
    return [Path(parent, f"zramfs-hog-{pid}") for parent in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")]


def _lift_limit(pid: int) -> None:
    for group in filter(Path.exists, _groups(pid)):
        is_v1 = (group / "memory.limit_in_bytes").exists()
        (group / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text("-1" if is_v1 else "max")


def _remove_group(pid: int) -> None:
    """The holder could not."""
    for group in _groups(pid):
        while group.exists():
            try:
                group.rmdir()
            except OSError:
                time.sleep(0.02)


def test_empty_swap_of_a_dead_daemon_ends_without_a_word(mount: Mount, swap_on: Callable[[Mounted], str]) -> None:
    mounted = mount()
    loop = swap_on(mounted)
    attached = AttachedLoop.of(loop)
    kill_with_its_fusermount(mounted)
    unmounted = zramfs("umount", mounted.path)
    assert unmounted.returncode == 0
    assert f"{loop} is still attached, and in use: zramfs swap off {mounted.path}" in unmounted.stderr
    off = zramfs("swap", "off", mounted.path)
    assert (off.returncode, off.stderr) == (0, "")
    assert f"{loop} " not in swaps()
    assert not attached.is_attached()
    again = zramfs("swap", "off", mounted.path)
    assert (again.returncode, again.stderr) == (1, f"zramfs: no zramfs is mounted at {mounted.path}\n")


def test_loop_device_whose_dead_mount_has_gone_is_found(mount: Mount) -> None:
    mounted = mount()
    attached = AttachedLoop.of(zramfs("loop", "attach", mounted.path).stdout.strip())
    kill_with_its_fusermount(mounted)
    subprocess.run(["fusermount3", "-u", "-z", mounted.path], check=True)
    done = zramfs("umount", mounted.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not attached.is_attached()
