import errno
import fcntl
import mmap
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import MIB, ZRAMFS, Mounted, zramfs

Mount = Callable[..., Mounted]


@pytest.fixture
def filled(mount: Mount) -> Mounted:
    """A device of 64 MiB, full of random data, so that each page takes a page of memory."""
    mounted = mount(size="64M")
    mounted.file.write_bytes(os.urandom(64 * MIB))
    return mounted


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


def stored(mounted: Mounted) -> int:
    stored_bytes: int = mounted.device()["mm_stat"]["orig_data_size"]
    return stored_bytes


def test_punch_hole_frees_pages_and_reads_zeros(filled: Mounted) -> None:
    run("fallocate", "-p", "-o", MIB, "-l", 16 * MIB, filled.file)
    assert stored(filled) == 48 * MIB
    assert filled.device()["mm_stat"]["mem_used_total"] == 48 * MIB
    assert filled.device()["io_stat"]["notify_free"] == 16 * MIB // 4096
    data = filled.file.read_bytes()
    assert data[MIB : 17 * MIB] == bytes(16 * MIB)
    assert any(data[:4096])
    assert any(data[17 * MIB : 17 * MIB + 4096])


def test_zero_range_zeroes_partial_pages_by_themselves(filled: Mounted) -> None:
    before = filled.file.read_bytes()
    run("fallocate", "-z", "-o", 100, "-l", 10_000, filled.file)
    after = filled.file.read_bytes()
    assert after == before[:100] + bytes(10_000) + before[10_100:]
    assert filled.device()["io_stat"]["notify_free"] == 1


def test_hole_within_one_page_is_zeroed(filled: Mounted) -> None:
    before = filled.file.read_bytes()
    run("fallocate", "-p", "-o", 5000, "-l", 200, filled.file)
    assert filled.file.read_bytes() == before[:5000] + bytes(200) + before[5200:]


@pytest.mark.parametrize(
    ("option", "error"),
    [
        (["-l", "1M"], errno.EOPNOTSUPP),
        (["-c", "-l", "4096"], errno.EOPNOTSUPP),
        (["-i", "-l", "4096"], errno.EOPNOTSUPP),
        (["-z", "-o", "60M", "-l", "8M"], errno.EINVAL),
    ],
)
def test_other_modes_are_refused_as_by_a_block_device(filled: Mounted, option: list[str], error: int) -> None:
    result = subprocess.run(["fallocate", *option, filled.file], capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert os.strerror(error) in result.stderr
    assert stored(filled) == 64 * MIB


@pytest.mark.parametrize("command", [["blkdiscard"], ["blkdiscard", "-z"]])
def test_blkdiscard_on_a_loop_device_gives_memory_back(filled: Mounted, command: list[str]) -> None:
    loop = zramfs("loop", "attach", filled.path).stdout.strip()
    run(*command, "-o", 8 * MIB, "-l", 32 * MIB, loop)
    assert stored(filled) == 32 * MIB
    assert filled.status()["daemon"]["rss_bytes"] < 100 * MIB + 32 * MIB


def test_fstrim_and_mount_with_discard_give_memory_back(mount: Mount, tmp_path: Path) -> None:
    mounted = mount()
    target = tmp_path / "ext4"
    target.mkdir()
    loop = zramfs("loop", "attach", mounted.path).stdout.strip()
    run("mkfs.ext4", "-q", loop)
    empty = stored(mounted)
    for options in (["-o", "discard"], []):
        run("mount", *options, loop, target)
        (target / "file").write_bytes(os.urandom(32 * MIB))
        run("sync", "-f", target)
        assert stored(mounted) > empty + 30 * MIB
        (target / "file").unlink()
        run("sync", "-f", target)
        if not options:
            run("fstrim", target)
        run("umount", target)
        assert stored(mounted) < empty + 12 * MIB


def test_swap_with_discard_gives_memory_back(mount: Mount) -> None:
    mounted = mount(size="64M")
    loop = zramfs("loop", "attach", mounted.path).stdout.strip()
    mounted.file.write_bytes(os.urandom(64 * MIB))
    run("mkswap", loop)
    run("swapon", "-d", loop)
    run("swapoff", loop)
    assert stored(mounted) <= MIB


def test_holes_are_found(mount: Mount) -> None:
    mounted = mount(size="1T")
    fd = os.open(mounted.file, os.O_RDWR)
    os.pwrite(fd, b"x", 500 << 30)
    assert os.lseek(fd, 0, os.SEEK_DATA) == 500 << 30
    assert os.lseek(fd, 500 << 30, os.SEEK_HOLE) == (500 << 30) + 4096
    assert os.lseek(fd, 10, os.SEEK_HOLE) == 10
    with pytest.raises(OSError, match="No such device or address"):
        os.lseek(fd, 501 << 30, os.SEEK_DATA)
    os.close(fd)


def test_sparse_copy_skips_holes(mount: Mount, tmp_path: Path) -> None:
    mounted = mount(size="1G")
    fd = os.open(mounted.file, os.O_RDWR)
    os.pwrite(fd, os.urandom(MIB), 512 * MIB)
    os.close(fd)
    run("cp", "--sparse=auto", mounted.file, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_blocks * 512 <= 2 * MIB
    run("cmp", "-n", 2 * MIB, "-i", 511 * MIB, mounted.file, tmp_path / "copy")


def test_discarding_an_empty_terabyte_is_quick_and_cheap(mount: Mount) -> None:
    mounted = mount(size="1T")
    run("fallocate", "-p", "-o", 0, "-l", 1 << 40, mounted.file)
    assert mounted.device()["io_stat"]["notify_free"] == (1 << 40) // 4096
    assert mounted.status()["daemon"]["rss_bytes"] < 100 * MIB


def test_mount_works_without_the_companion(tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    environment = {**os.environ, "ZRAMFS_NO_COMPANION": "1"}
    result = subprocess.run(
        [ZRAMFS, "mount", path, "--size", "16M", "--log-file", tmp_path / "log"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0
    assert result.stderr == "zramfs: warning: no companion (ZRAMFS_NO_COMPANION is set): no discard, no holes\n"
    try:
        assert "no companion: ZRAMFS_NO_COMPANION is set" in (tmp_path / "log").read_text()
        (path / "zram0").write_bytes(b"x" * MIB)
        assert (path / "zram0").read_bytes()[: MIB + 1] == b"x" * MIB + b"\0"
        refused = subprocess.run(["fallocate", "-p", "-l", "4096", path / "zram0"], capture_output=True, check=False)
        assert refused.returncode != 0
    finally:
        assert zramfs("umount", path).returncode == 0


def test_page_cache_writeback_is_asynchronous(mount: Mount) -> None:
    mounted = mount(size="16M")
    fd = os.open(mounted.file, os.O_RDWR)
    with mmap.mmap(fd, 4 * MIB) as memory:
        memory[:] = os.urandom(4 * MIB)
        memory.flush()
    os.close(fd)
    streams = mounted.streams()
    assert (streams["managed_pages"] + streams["fallback_pages"], streams["percpu_pages"]) == (1024, 0)


def test_flags_set_after_opening_count(mount: Mount) -> None:
    mounted = mount(size="16M")
    fd = os.open(mounted.file, os.O_RDWR)
    page = mmap.mmap(-1, 4096)
    page[:] = os.urandom(4096)
    os.pwrite(fd, page, 0)
    assert mounted.streams()["percpu_pages"] == 1
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_DIRECT)
    os.pwrite(fd, page, 0)
    assert mounted.streams()["managed_pages"] == 1
    os.pwritev(fd, [page], 0, os.RWF_DSYNC)
    assert mounted.streams()["percpu_pages"] == 2
    os.close(fd)
