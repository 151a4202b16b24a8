import filecmp
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import AttachedLoop, Mounted, zramfs

pytestmark = pytest.mark.usefixtures("loop_devices")

Mount = Callable[..., Mounted]

HOG = ("-m", "zramfs.compare.memory_hog")
CANNOT = 77


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def test_file_system_on_a_loop_device_keeps_every_file(mount: Mount, tmp_path: Path) -> None:
    mounted = mount()
    tree = Path(os.__file__).parent / "asyncio"
    target = tmp_path / "ext4"
    target.mkdir()
    loop = zramfs("loop", "attach", mounted.path).stdout.strip()
    assert run("mkfs.ext4", "-q", loop).returncode == 0
    assert run("mount", loop, target).returncode == 0
    shutil.copytree(tree, target / "tree")
    assert run("umount", target).returncode == 0
    checked = run("e2fsck", "-fn", loop)
    assert checked.returncode == 0, checked.stdout
    assert run("mount", loop, target).returncode == 0
    names = [str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()]
    assert filecmp.cmpfiles(tree, target / "tree", names, shallow=False)[1:] == ([], [])
    busy = zramfs("loop", "detach", mounted.path)
    assert (busy.returncode, busy.stderr) == (1, f"zramfs: {loop} is in use: unmount or swapoff it first\n")
    assert run("umount", target).returncode == 0
    assert zramfs("loop", "detach", mounted.path).returncode == 0
    assert run("losetup", "-j", mounted.file).stdout == ""


def test_writes_through_a_loop_device_prefer_managed_streams(mount: Mount) -> None:
    mounted = mount()
    loop = zramfs("loop", "attach", mounted.path).stdout.strip()
    assert run("dd", "if=/dev/urandom", f"of={loop}", "bs=1M", "count=4", "oflag=direct").returncode == 0
    assert mounted.streams()["managed_pages"] == 1024
    assert zramfs("loop", "detach", mounted.path).returncode == 0


def test_loop_has_direct_io_and_large_sectors(mount: Mount) -> None:
    mounted = mount()
    loop = zramfs("loop", "attach", mounted.path).stdout.strip()
    options = run("losetup", "-n", "-O", "DIO,LOG-SEC", loop).stdout.split()
    assert options == ["1", "4096"]
    busy = zramfs("umount", mounted.path)
    assert busy.returncode == 1
    assert f"zram0 is attached to {loop}" in busy.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["loop", "detach"], "is attached to no loop device"),
        (["loop", "attach", "--device", "zram7"], "has no device 'zram7'"),
        (["loop", "attach", "--offset", "1G"], "zram0 ends before byte 1073741824"),
        (["swap", "off"], "is not used for swap"),
    ],
)
def test_verbs_refuse_what_cannot_be_in_one_line(mount: Mount, arguments: list[str], says: str) -> None:
    result = zramfs(*arguments, mount().path)
    assert result.returncode == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_uninitialised_device_is_not_attached(mount: Mount) -> None:
    result = zramfs("loop", "attach", mount(size=None).path)
    assert result.returncode == 1
    assert "has no size yet" in result.stderr


def test_killed_daemon_leaves_no_dead_mount_under_a_loop_device(mount: Mount) -> None:
    mounted = mount()
    loop = zramfs("loop", "attach", mounted.path).stdout.strip()
    try:
        os.kill(mounted.pid, 9)
        mounted.wait_for_daemon_end()
        assert run("dd", f"if={loop}", "of=/dev/null", "bs=4096", "count=1").returncode != 0
    finally:
        run("losetup", "-d", loop)
    mounted.wait_until_unmounted()


def test_loop_device_of_a_killed_daemon_is_detached_by_its_mount_point(mount: Mount) -> None:
    mounted, other = mount(size="16M"), mount(size="16M")
    loop, others = (AttachedLoop.of(zramfs("loop", "attach", each.path).stdout.strip()) for each in (mounted, other))
    for each in (mounted, other):
        os.kill(each.pid, 9)
        each.wait_for_daemon_end()
        run("umount", "--lazy", each.path)  # auto_unmount does, soon or never
    assert zramfs("loop", "detach", mounted.path, "--device", "zram1").returncode == 1
    done = zramfs("loop", "detach", mounted.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not loop.is_attached()
    assert others.is_attached()  # the names of both are longer than what a loop device keeps
    assert zramfs("loop", "detach", other.path).returncode == 0
    again = zramfs("loop", "detach", mounted.path)
    assert (again.returncode, again.stderr) == (1, f"zramfs: no zramfs is mounted at {mounted.path}\n")


def test_swap_under_pressure_gives_every_byte_back(mount: Mount) -> None:
    mounted = mount("--size", "512M", size=None)
    loop = zramfs("swap", "on", mounted.path).stdout.strip()
    assert f"{loop} " in Path("/proc/swaps").read_text()
    assert (mounted.path / "sys/fs/zramfs/memory_locked").read_text() == "1\n"
    done = run(sys.executable, *HOG, 256, 64)
    if done.returncode == CANNOT:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert "verified 256 MiB" in done.stdout
    off = zramfs("swap", "off", mounted.path)
    assert off.returncode == 0, off.stderr
    assert f"{loop} " not in Path("/proc/swaps").read_text()
    assert (mounted.path / "sys/fs/zramfs/memory_locked").read_text() == "0\n"


def test_swap_gives_memory_back_after_each_round_and_at_its_end(mount: Mount) -> None:
    mounted = mount()
    loop = zramfs("swap", "on", mounted.path).stdout.strip()
    rss_bytes = mounted.status()["daemon"]["rss_bytes"]
    began = in_use(mounted)
    assert began["orig_data_size"] == 4096
    for _ in range(2):
        done = run(sys.executable, *HOG, 64, 24)
        if done.returncode == CANNOT:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr
        wait_until_in_use(mounted, began, loop)
    assert int(mounted.show("mm_stat").split()[4]) > 30 << 20
    mounted.wait_until_resident(rss_bytes + (16 << 20))  # 5 to 8 MB: the scratch memory of streams, and spare zspages
    assert zramfs("swap", "off", mounted.path).returncode == 0
    assert in_use(mounted) == began


def in_use(mounted: Mounted) -> dict[str, int]:
    stat = mounted.device()["mm_stat"]
    return {key: stat[key] for key in ("orig_data_size", "compr_data_size", "mem_used_total")}


def wait_until_in_use(mounted: Mounted, began: dict[str, int], loop: str, timeout_s: float = 20.0) -> None:
    """The kernel discards what swap has freed by and by."""
    deadline = time.monotonic() + timeout_s
    while any(value > 1.01 * began[key] for key, value in in_use(mounted).items()):
        if time.monotonic() > deadline:
            used_kib = next(line.split()[3] for line in Path("/proc/swaps").read_text().splitlines() if loop in line)
            if used_kib != "0":
                pytest.skip(f"somebody else has swapped out {used_kib} KiB to {loop}")
            pytest.fail(f"{in_use(mounted)} in use, {began} at the beginning")
        time.sleep(0.1)


def test_swap_area_is_empty_after_its_end_and_still_one(mount: Mount) -> None:
    mounted = mount(size="64M")
    loop = zramfs("swap", "on", mounted.path).stdout.strip()
    assert run("swapoff", loop).returncode == 0
    fill = os.urandom(4096) * 256
    fd = os.open(mounted.file, os.O_WRONLY)
    for megabyte in range(1, 64):  # not while it is in use: anybody's pages may be there
        os.pwrite(fd, fill, megabyte << 20)
    os.close(fd)
    assert run("swapon", loop).returncode == 0
    assert in_use(mounted)["orig_data_size"] > 60 << 20
    assert zramfs("swap", "off", mounted.path).returncode == 0
    assert in_use(mounted)["orig_data_size"] == 4096
    loop = zramfs("loop", "attach", mounted.path).stdout.strip()
    assert run("swapon", loop).returncode == 0


def test_memory_goes_back_while_it_is_locked(mount: Mount) -> None:
    mounted = mount()
    (mounted.path / "sys/fs/zramfs/memory_locked").write_text("1")
    before = mounted.status()["daemon"]["rss_bytes"]
    mounted.file.write_bytes(os.urandom(128 << 20))
    mounted.file.write_bytes(bytes(128 << 20))
    assert mounted.device()["mm_stat"]["mem_used_total"] == 0
    mounted.wait_until_resident(before + (16 << 20))


def test_device_has_one_loop_device_at_a_time(mount: Mount) -> None:
    mounted = mount()
    loop = zramfs("loop", "attach", mounted.path).stdout.strip()
    for verb in (["loop", "attach"], ["swap", "on"]):
        again = zramfs(*verb, mounted.path)
        assert (again.returncode, again.stderr) == (1, f"zramfs: zram0 is attached to {loop} already\n")
    assert (mounted.path / "sys/fs/zramfs/memory_locked").read_text() == "0\n"


def test_loop_device_attached_before_the_disksize_learns_it(mount: Mount) -> None:
    mounted = mount("--devices", 2, size=None)
    loop = run("losetup", "--find", "--show", mounted.path / "zram1").stdout.strip()
    try:
        mounted.attribute("disksize").write_text("16M")
        assert run("blockdev", "--getsize64", loop).stdout == "0\n"
        mounted.attribute("disksize", "zram1").write_text("32M")
        assert run("blockdev", "--getsize64", loop).stdout == f"{32 << 20}\n"
        Path(loop).write_bytes(b"as large as that")
    finally:
        run("losetup", "--detach", loop)
    assert (mounted.path / "zram1").read_bytes()[:16] == b"as large as that"
