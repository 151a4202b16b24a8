"""Several users of one block file, cached and direct: each sees what the others have written."""

import mmap
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from mounts import MIB, Mounted

PAGE = 4096
SIZE = 64 * PAGE

Mount = Callable[..., Mounted]
Fio = Callable[..., None]


@dataclass(frozen=True)
class Users:
    """One file, opened as usual, mapped, and opened with O_DIRECT."""

    cached: int
    memory: mmap.mmap
    direct: int
    buffer: mmap.mmap

    def read_directly(self, page: int) -> bytes:
        assert os.preadv(self.direct, [self.buffer], page * PAGE) == PAGE
        return self.buffer[:]

    def write_directly(self, page: int, contents: bytes) -> None:
        self.buffer[:] = contents
        assert os.pwrite(self.direct, self.buffer, page * PAGE) == PAGE


@pytest.fixture(params=[True, False], ids=["companion", "no companion"])
def users(mount: Mount, request: pytest.FixtureRequest) -> Iterator[Users]:
    file = mount(size="256K", companion=request.param).file
    cached = os.open(file, os.O_RDWR)
    direct = os.open(file, os.O_RDWR | os.O_DIRECT)
    with mmap.mmap(cached, SIZE) as memory, mmap.mmap(-1, PAGE) as buffer:
        yield Users(cached, memory, direct, buffer)
    os.close(direct)
    os.close(cached)


def test_direct_read_sees_a_dirty_mapping(users: Users) -> None:
    users.memory[PAGE : 2 * PAGE] = b"m" * PAGE
    assert users.read_directly(1) == b"m" * PAGE


def test_direct_read_sees_a_buffered_write(users: Users) -> None:
    os.pwrite(users.cached, b"b" * PAGE, 2 * PAGE)
    assert users.read_directly(2) == b"b" * PAGE


def test_direct_write_replaces_what_was_cached(users: Users) -> None:
    assert os.pread(users.cached, PAGE, 3 * PAGE) == bytes(PAGE)
    users.write_directly(3, b"d" * PAGE)
    assert os.pread(users.cached, PAGE, 3 * PAGE) == b"d" * PAGE
    assert users.memory[3 * PAGE : 4 * PAGE] == b"d" * PAGE


def test_direct_write_replaces_a_dirty_mapping(users: Users) -> None:
    users.memory[4 * PAGE : 5 * PAGE] = b"m" * PAGE
    users.write_directly(4, b"d" * PAGE)
    assert users.memory[4 * PAGE : 5 * PAGE] == b"d" * PAGE
    assert os.pread(users.cached, PAGE, 4 * PAGE) == b"d" * PAGE


@pytest.mark.parametrize("companion", [True, False], ids=["companion", "no companion"])
@pytest.mark.parametrize(
    "options",
    [
        ["--ioengine=psync", "--bs=4k", "--direct=1", "--numjobs=4", "--offset_increment=16M"],
        ["--ioengine=libaio", "--bs=4k", "--direct=1", "--iodepth=32"],
        ["--ioengine=libaio", "--bs=1M", "--direct=1", "--iodepth=4"],
        ["--ioengine=psync", "--bs=128k", "--direct=1", "--sync=1"],
        ["--ioengine=psync", "--bs=5k", "--bs_unaligned"],
    ],
    ids=["four direct writers", "4K deep", "1M deep", "128K sync", "unaligned"],
)
def test_fio_reads_back_what_it_wrote(mount: Mount, fio: Fio, options: list[str], *, companion: bool) -> None:
    mounted = mount(companion=companion)
    fio(mounted.file, "--rw=randwrite", "--size=16M", "--buffer_compress_percentage=60", *options)


def test_direct_writers_in_parallel_lose_nothing(mount: Mount) -> None:
    mounted = mount(size="64M")
    writers = [
        subprocess.Popen(
            [
                "dd",
                "if=/dev/zero",
                f"of={mounted.file}",
                "bs=4k",
                "count=2048",
                f"seek={2048 * part}",
                "oflag=direct",
                "conv=notrunc",
                "status=none",
            ]
        )
        for part in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    assert mounted.device()["mm_stat"]["same_pages"] == 32 * MIB // PAGE
