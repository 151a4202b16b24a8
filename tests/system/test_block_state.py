import errno
import os
import stat
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from mounts import MIB, Mounted

Mount = Callable[..., Mounted]


def block_state_of(mounted: Mounted) -> Path:
    return mounted.path / "sys/kernel/debug/zram/zram0/block_state"


def flags(mounted: Mounted) -> dict[int, str]:
    return {int(line.split()[0]): line.split()[2] for line in block_state_of(mounted).read_text().splitlines()}


def write(mounted: Mounted, page: int, data: bytes) -> None:
    fd = os.open(mounted.file, os.O_RDWR)
    os.pwrite(fd, data, page * 4096)
    os.fsync(fd)
    os.close(fd)


def test_block_state_is_for_root_alone_and_needs_a_size(mount: Mount) -> None:
    mounted = mount(size=None)
    assert stat.S_IMODE(block_state_of(mounted).stat().st_mode) == 0o400
    with pytest.raises(OSError, match="Invalid argument") as raised:
        block_state_of(mounted).read_text()
    assert raised.value.errno == errno.EINVAL


@pytest.mark.parametrize("portion", [100, 4096, 1 << 20])
def test_block_state_of_many_pages_reads_in_any_portions(mount: Mount, portion: int) -> None:
    mounted = mount(size="256M")
    for megabyte in range(0, 64, 2):
        write(mounted, megabyte * 256, b"12345678" * (MIB // 8))
    text = b""
    with block_state_of(mounted).open("rb", buffering=0) as file:
        while more := file.read(portion):
            text += more
    pages = [int(line.split()[0]) for line in text.splitlines()]
    assert pages == [megabyte * 256 + page for megabyte in range(0, 64, 2) for page in range(256)]
    assert {line.split()[2] for line in text.splitlines()} == {b"s....."}


@pytest.mark.parametrize(("abi", "has_fractions"), [("6.18", True), ("7.3", False)])
def test_access_times_have_the_fractions_of_the_kernel_that_is_kept_to(
    mount: Mount, abi: str, *, has_fractions: bool
) -> None:
    mounted = mount("--zram-abi", abi, size="16M")
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    for page in range(20):
        write(mounted, page, os.urandom(4096))
    times = [line.split()[1] for line in block_state_of(mounted).read_text().splitlines()]
    assert len(times) == 20
    assert int(began) <= min(map(float, times)) <= max(map(float, times)) <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert (len({each.partition(".")[2] for each in times}) > 1) is has_fractions
    assert has_fractions or all(each.endswith(".000000") for each in times)
    mounted.attribute("idle").write_text("4294967295")
    with pytest.raises(OSError, match="Invalid argument") if not has_fractions else nullcontext():
        mounted.attribute("idle").write_text("4294967296")


def test_idle_marks_by_age_what_was_not_accessed_since(mount: Mount) -> None:
    mounted = mount(size="16M")
    write(mounted, 0, os.urandom(4096))
    write(mounted, 1, os.urandom(4096))
    time.sleep(4)
    write(mounted, 1, os.urandom(4096))
    mounted.attribute("idle").write_text("2\n")
    assert flags(mounted) == {0: "..hi..", 1: "..h..."}
    mounted.attribute("idle").write_text("all\n")
    assert flags(mounted) == {0: "..hi..", 1: "..hi.."}
