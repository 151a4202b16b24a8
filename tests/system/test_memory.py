import mmap
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, cycle
from pathlib import Path

from mounts import MIB, Mounted

Mount = Callable[..., Mounted]

STORED_BYTES = 512 * MIB


def real_data(size_bytes: int) -> Iterator[bytes]:
    """Binaries and texts of this system, a megabyte at a time, again from the start when they are too few."""
    rest = b""
    for path in cycle(files_of("/usr/bin", "/usr/lib", "/usr/share")):
        for chunk in chunks_of(path):
            rest += chunk
            if len(rest) >= MIB:
                yield rest[:MIB]
                rest = rest[MIB:]
                size_bytes -= MIB
            if size_bytes <= 0:
                return


def files_of(*folders: str) -> Iterator[Path]:
    """One after the other, as they are needed: there may be a hundred thousand."""
    for at, below, names in chain.from_iterable(map(os.walk, folders)):
        below.sort()
        paths = (Path(at, name) for name in sorted(names))
        yield from (path for path in paths if path.is_file() and not path.is_symlink())


def chunks_of(path: Path) -> Iterator[bytes]:
    with suppress(OSError), path.open("rb") as file:
        while chunk := file.read(MIB):
            yield chunk


def test_memory_follows_the_compressed_data_and_goes_back_at_reset(mount: Mount) -> None:
    mounted = mount(size="1G")
    before = mounted.status()["daemon"]["rss_bytes"]
    fd = os.open(mounted.file, os.O_WRONLY)
    for number, megabyte in enumerate(real_data(STORED_BYTES)):
        os.pwrite(fd, megabyte, number * MIB)
    os.close(fd)
    status = mounted.status()
    memory = status["devices"][0]["mm_stat"]
    grown = status["daemon"]["rss_bytes"] - before
    assert memory["orig_data_size"] == STORED_BYTES
    assert grown <= 1.08 * memory["compr_data_size"]
    mounted.attribute("reset").write_text("1")
    mounted.wait_until_resident(before + 16 * MIB)


def test_requests_that_there_is_no_memory_for_wait_until_there_is(mount: Mount) -> None:
    mounted = mount(size="64M")
    fd = os.open(mounted.file, os.O_RDWR | os.O_DIRECT)
    data = mmap.mmap(-1, 16 * MIB)
    data[:] = os.urandom(16 * MIB)
    os.pwrite(fd, data[:4096], 0)  # the pool takes addresses for 32 MiB, and asks for no more below
    size_bytes = int(Path(f"/proc/{mounted.pid}/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.prlimit(mounted.pid, resource.RLIMIT_AS, (size_bytes + MIB // 2, resource.RLIM_INFINITY))

    def write(megabyte: int) -> int:
        at = megabyte * MIB
        return os.pwritev(fd, [memoryview(data)[at : at + MIB]], at)

    with ThreadPoolExecutor(16) as pool:
        written = pool.map(write, range(16))
        deadline = time.monotonic() + 20
        while "no memory for the next request; it waits" not in mounted.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        resource.prlimit(mounted.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert list(written) == [MIB] * 16
    found = mmap.mmap(-1, 16 * MIB)
    assert os.preadv(fd, [found], 0) == 16 * MIB
    os.close(fd)
    assert found[:] == data[:]
