import errno
import mmap
import os
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

import pytest
from mounts import MIB, Mounted

Mount = Callable[..., Mounted]

SIZE = 16 * MIB


@pytest.fixture(params=[True, False], ids=["companion", "no companion"])
def mount(mount: Mount, request: pytest.FixtureRequest) -> Mount:
    """Mount with the companion and without: a file is a file."""
    return partial(mount, companion=request.param)


@pytest.fixture
def fd(mount: Mount) -> Iterator[int]:
    fd = os.open(mount(size="16M").file, os.O_RDWR)
    yield fd
    os.close(fd)


def test_unwritten_pages_read_as_zeros(fd: int) -> None:
    assert os.pread(fd, 8192, 12345) == bytes(8192)


def test_any_offset_and_length_read_back(fd: int) -> None:
    random = Random(1)
    model = bytearray(SIZE)
    for _ in range(300):
        offset = random.randrange(SIZE)
        data = random.randbytes(min(random.choice([1, 100, 4096, 5000, 70_000, MIB]), SIZE - offset))
        assert os.pwrite(fd, data, offset) == len(data)
        model[offset : offset + len(data)] = data
    assert os.pread(fd, SIZE, 0) == model


def test_write_past_the_end_is_enospc(fd: int) -> None:
    with pytest.raises(OSError, match="No space left") as raised:
        os.pwrite(fd, b"x", SIZE)
    assert raised.value.errno == errno.ENOSPC


def test_write_across_the_end_is_short(fd: int) -> None:
    assert os.pwrite(fd, b"abcdef", SIZE - 4) == 4
    assert os.pread(fd, 100, SIZE - 4) == b"abcd"


def test_read_past_the_end_is_empty(fd: int) -> None:
    assert os.pread(fd, 100, SIZE) == b""


def test_truncate_leaves_size_and_data(fd: int) -> None:
    os.pwrite(fd, b"data", 0)
    os.ftruncate(fd, 10)
    os.ftruncate(fd, SIZE * 2)
    assert os.fstat(fd).st_size == SIZE
    assert os.pread(fd, 4, 0) == b"data"


def test_o_trunc_leaves_size_and_data(mount: Mount) -> None:
    mounted = mount(size="16M")
    mounted.file.write_bytes(b"data")
    with mounted.file.open("wb") as file:
        file.write(b"D")
    assert mounted.file.stat().st_size == SIZE
    assert mounted.file.read_bytes()[:5] == b"Data\0"


def test_statfs_tells_pages(mount: Mount) -> None:
    mounted = mount(size="16M")
    stat = os.statvfs(mounted.path)
    assert (stat.f_bsize, stat.f_frsize, stat.f_blocks, stat.f_bfree) == (
        4096,
        4096,
        SIZE // 4096,
        SIZE // 4096,
    )
    mounted.file.write_bytes(b"x" * 8192)
    assert os.statvfs(mounted.path).f_bfree == SIZE // 4096 - 2


def test_fsync_and_close_return(fd: int) -> None:
    os.pwrite(fd, b"x", 0)
    os.fsync(fd)
    os.fdatasync(fd)


def test_shared_mapping_reaches_the_device(mount: Mount) -> None:
    mounted = mount(size="16M")
    fd = os.open(mounted.file, os.O_RDWR)
    with mmap.mmap(fd, SIZE) as memory:
        memory[10_000:10_005] = b"hello"
        memory.flush()
        direct = os.open(mounted.file, os.O_RDONLY | os.O_DIRECT)
        page = mmap.mmap(-1, 4096)
        assert os.preadv(direct, [page], 8192) == 4096
        assert page[10_000 - 8192 : 10_005 - 8192] == b"hello"
        os.close(direct)
        page.close()
    os.close(fd)


def test_private_mapping_stays_private(fd: int) -> None:
    os.pwrite(fd, b"file", 0)
    with mmap.mmap(fd, SIZE, flags=mmap.MAP_PRIVATE) as memory:
        assert memory[:4] == b"file"
        memory[:4] = b"mine"
    assert os.pread(fd, 4, 0) == b"file"


def test_unaligned_o_direct_write_is_taken(mount: Mount) -> None:
    mounted = mount(size="16M")
    fd = os.open(mounted.file, os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, 4096)
    buffer[:300] = b"z" * 300
    assert os.pwrite(fd, memoryview(buffer)[:300], 100) == 300
    os.close(fd)
    assert mounted.file.read_bytes()[99:401] == b"\0" + b"z" * 300 + b"\0"


def test_folders_and_names_cannot_change(mount: Mount) -> None:
    mounted = mount(size="16M")
    with pytest.raises(PermissionError):
        (mounted.path / "new").write_bytes(b"")
    with pytest.raises(PermissionError):
        mounted.file.unlink()
    with pytest.raises(PermissionError):
        (mounted.path / "sys/new").mkdir()
