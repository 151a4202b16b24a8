"""What tests of writeback and recompression share: what a device tells of its pages, and a gate before its blocks."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from zramfs.abi import ZRAM_6_18, ZRAM_7_3, ZramAbi
from zramfs.device.backing import BackingDevice
from zramfs.device.backing_link import BackingLink, Transfer
from zramfs.device.device import ZramDevice
from zramfs.device.writeback import Selection

PAGE = 4096
PAGES = 64

ALL = Selection(0, PAGES)
IDLE = Selection(0, PAGES, idle=True)
HUGE = Selection(0, PAGES, huge=True)


FORMS = {
    "6.18": {"abi": ZRAM_6_18},
    "7.3": {"abi": ZRAM_7_3},
    "7.3 compressed": {"abi": ZRAM_7_3, "compressed_writeback": True},
}
"""What is written back, and remembered of it. Everything else is the same."""


def first_block(abi: ZramAbi) -> int:
    return 0 if abi.uses_first_block else 1


async def write_pages(device: ZramDevice, page: int, data: bytes) -> None:
    """Write from this page on."""
    await device.write(page * PAGE, data)


def access_times(device: ZramDevice) -> list[str]:
    return [line.split()[1] for line in "".join(device.upkeep.block_state()).splitlines()]


def all_flags(device: ZramDevice) -> dict[int, str]:
    lines = "".join(device.upkeep.block_state()).splitlines()
    return {int(line.split()[0]): line.split()[2] for line in lines}


def flags(device: ZramDevice) -> dict[int, str]:
    """Flags of each page in use; of one that is written back, that it is."""
    return {page: ".w...." if "w" in state else state for page, state in all_flags(device).items()}


def backing_of(device: ZramDevice) -> BackingDevice:
    assert device.writeback.backing is not None
    return device.writeback.backing


class Gate:
    """Holds the reads, or the writes, that a backing device is asked for, until it is opened."""

    def __init__(self, link: BackingLink, *, writes: bool) -> None:
        self._writes = writes
        self._held: list[Transfer] = []
        self._reached = trio.Event()
        self._begin = link.begin
        self._is_open = False

    def begin(self, transfer: Transfer) -> None:
        if self._is_open or (transfer.pages is not None) is not self._writes:
            self._begin(transfer)
            return
        self._held.append(transfer)
        self._reached.set()

    async def reached(self) -> None:
        with trio.fail_after(20):
            await self._reached.wait()

    def fail(self, error: OSError) -> None:
        """Let those that are held fail."""
        while self._held:
            self._held.pop(0).fail(error)

    def open(self) -> None:
        self._is_open = True
        while self._held:
            self._begin(self._held.pop(0))


@contextmanager
def held(device: ZramDevice, *, writes: bool) -> Iterator[Gate]:
    link = backing_of(device)._link
    gate = Gate(link, writes=writes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link, "begin", gate.begin)
        try:
            yield gate
        finally:
            gate.open()
