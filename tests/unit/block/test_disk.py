import ctypes
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disks import do, read

from zramfs.backends.lz4 import LZ4
from zramfs.block.closed_loop import Loop
from zramfs.block.disk import Disk
from zramfs.block.layer import BlockLayer
from zramfs.block.slots import Codecs, SlotTable
from zramfs.codec.lz4 import Lz4Codec
from zramfs.errors import DeviceBusy, MemoryLimitReached, PastTheEnd
from zramfs.zcomp.zcomp import Zcomp

PAGE = 4096
RECEIVERS = 4
PR_GET_IO_FLUSHER = 58
PF_MEMALLOC_NOIO = 0x80000  # <linux/sched.h>: what PR_SET_IO_FLUSHER sets

Opener = Callable[..., Disk]


@pytest.fixture
def layer() -> Iterator[BlockLayer]:
    layer = BlockLayer(receivers=RECEIVERS, crew=1)
    yield layer
    layer.close()


@pytest.fixture
def open_disk(layer: BlockLayer) -> Iterator[Opener]:
    disks: list[Disk] = []

    def make(pages: int = 1024, *, limit_pages: int = 0) -> Disk:
        disk = Disk("zram0", layer)
        codecs = [Codecs(Lz4Codec()) for _ in range(layer.channel_count)]
        disk.open(SlotTable(pages, limit_pages, None, layer.channel_count), Zcomp(LZ4), codecs)
        disks.append(disk)
        return disk

    yield make
    for disk in disks:
        disk.close()


def run_together(loops: list[Loop], count: int) -> None:
    threads = [threading.Thread(target=loop.run, args=(count,)) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def crew_flags() -> int:
    """The kernel's flags of the crew's thread (PF_…)."""
    for task in Path("/proc/self/task").iterdir():
        name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        if name == "zramfs-crew-0":
            return int(rest.split()[6])
    raise LookupError


@pytest.mark.skipif(
    ctypes.CDLL(None).prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) < 0, reason="needs CAP_SYS_RESOURCE, and Linux 5.6"
)
def test_crew_does_not_wait_for_swap_that_it_serves(layer: BlockLayer) -> None:
    before = crew_flags()
    for is_flusher in (True, False):
        deadline_s = time.monotonic() + 10
        while bool((crew_flags() ^ before) & PF_MEMALLOC_NOIO) is not is_flusher:
            assert time.monotonic() < deadline_s
            layer.set_io_flushers(is_flusher)
            time.sleep(0.001)


def test_closed_disk_has_no_size(layer: BlockLayer) -> None:
    disk = Disk("zram0", layer)
    assert read(disk, 0, 10) == b""
    assert do(disk, "punch", 0, size_bytes=PAGE) == 0
    with pytest.raises(PastTheEnd):
        do(disk, "write", 0, bytes(PAGE))
    assert (disk.is_open, disk.size_bytes, disk.counts.finished(0)[0]) == (False, 0, 0)


def test_requests_are_clipped_at_the_end(open_disk: Opener) -> None:
    disk = open_disk(pages=4)
    assert do(disk, "write", 3 * PAGE + 96, b"x" * 5000) == 4000
    assert read(disk, 3 * PAGE + 90, 5000) == bytes(6) + b"x" * 4000
    assert read(disk, 4 * PAGE, 1) == b""
    with pytest.raises(PastTheEnd):
        do(disk, "write", 4 * PAGE, b"x")
    assert disk.counts.failed_writes == 0


def test_write_over_the_memory_limit_fails_and_keeps_the_page(open_disk: Opener) -> None:
    disk = open_disk(limit_pages=8)
    old, new = os.urandom(4 * PAGE), os.urandom(64 * PAGE)
    do(disk, "write", 0, old)
    with pytest.raises(MemoryLimitReached):
        do(disk, "write", 0, new)
    for place in range(0, 4 * PAGE, PAGE):
        assert read(disk, place, PAGE) in (old[place : place + PAGE], new[place : place + PAGE])
    assert disk.counts.failed_writes == 1
    assert disk.table.used_pages <= 8
    assert do(disk, "write", 0, bytes(PAGE)) == PAGE


def test_holes_and_data_are_found(open_disk: Opener) -> None:
    disk = open_disk()
    do(disk, "write", 700 * PAGE, b"x")
    assert disk.find_offset(10, data=True) == 700 * PAGE
    assert disk.find_offset(700 * PAGE + 5, data=True) == 700 * PAGE + 5
    assert disk.find_offset(700 * PAGE, data=False) == 701 * PAGE
    assert disk.find_offset(701 * PAGE, data=True) is None
    assert disk.find_offset(1024 * PAGE, data=False) is None


def test_disk_is_not_closed_under_a_request(open_disk: Opener) -> None:
    disk = open_disk()
    closing = threading.Event()
    refused = 0
    loop = Loop(disk, 1, "mixed", pages=1024, size_pages=64)
    thread = threading.Thread(target=lambda: (loop.run(20_000), closing.set()))
    thread.start()
    while not closing.is_set():
        try:
            disk.close()
            break
        except DeviceBusy:
            refused += 1
    thread.join()
    assert loop.done == 20_000
    assert refused or loop.errors


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("size_pages", [1, 3, 40])
def test_no_page_is_torn_by_several_threads(open_disk: Opener, threads: int, size_pages: int) -> None:
    disk = open_disk()
    loops = [
        Loop(disk, channel, "mixed", pages=64, size_pages=size_pages, verifies=True, seed=channel)
        for channel in range(1, threads + 1)
    ]
    run_together(loops, 6000 // size_pages)
    assert [(loop.errors, loop.torn_pages) for loop in loops] == [(0, 0)] * threads
    assert disk.table.object_count == disk.table.stored_pages - disk.table.same_pages
    do(disk, "punch", 0, size_bytes=1024 * PAGE)
    table = disk.table
    assert (table.stored_pages, table.object_count, table.compressed_bytes, table.huge_pages) == (0, 0, 0, 0)


def test_pages_move_beside_their_users(open_disk: Opener) -> None:
    disk = open_disk(pages=4096)
    loops = [Loop(disk, channel, "mixed", pages=4096, verifies=True, seed=channel) for channel in (1, 2)]
    threads = [threading.Thread(target=loop.run, args=(20_000,)) for loop in loops]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        disk.table.compact_some(100)
    assert [(loop.errors, loop.torn_pages) for loop in loops] == [(0, 0)] * 2


def test_pages_that_the_limit_keeps_out_are_counted_and_told_once(open_disk: Opener) -> None:
    disk = open_disk(limit_pages=1)
    do(disk, "write", 0, os.urandom(PAGE))
    told = select.poll()
    told.register(disk.table.limit_fd, select.POLLIN)
    assert (disk.table.limit_hits, told.poll(0)) == (0, [])
    for page in (1, 2):
        with pytest.raises(MemoryLimitReached):
            do(disk, "write", page * PAGE, os.urandom(PAGE))
    assert disk.table.limit_hits == 2
    assert told.poll(0)
    disk.table.heed_limit()
    with pytest.raises(MemoryLimitReached):
        do(disk, "write", PAGE, os.urandom(PAGE))
    assert not told.poll(0)
    disk.table.rearm_limit()
    disk.table.reset_limit_hits()
    with pytest.raises(MemoryLimitReached):
        do(disk, "write", PAGE, os.urandom(PAGE))
    assert (disk.table.limit_hits, bool(told.poll(0))) == (1, True)
