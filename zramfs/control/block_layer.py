"""The block layer's attributes of a disk (Documentation/ABI/stable/sysfs-block), for lsblk and libudev."""

from functools import partial
from typing import Final

from zramfs.contracts import Attribute, ControlTree, Link
from zramfs.control.modes import READ_ONLY, READ_WRITE
from zramfs.device.device import ZramDevice
from zramfs.errors import InvalidValue
from zramfs.units import PAGE_SIZE, SECTOR_SIZE

_DISK: Final[dict[str, int | str]] = {
    "ro": 0,
    "removable": 0,
    "hidden": 0,
    "range": 1,
    "ext_range": 1,
    "alignment_offset": 0,
    "discard_alignment": 0,
}
"""As the kernel's zram has them; so are those of the queue, but that a loop device's requests are counted (iostats)."""

_MOST_DISCARDED: Final = 0xFFFFFFFF * SECTOR_SIZE

_QUEUE: Final[dict[str, int | str]] = {
    "add_random": 0,
    "chunk_sectors": 0,
    "dax": 0,
    "discard_granularity": PAGE_SIZE,
    "discard_max_bytes": _MOST_DISCARDED,
    "discard_max_hw_bytes": _MOST_DISCARDED,
    "discard_zeroes_data": 0,
    "dma_alignment": 511,
    "fua": 0,
    "hw_sector_size": PAGE_SIZE,
    "io_poll": 0,
    "io_poll_delay": -1,
    "iostats": 1,
    "logical_block_size": PAGE_SIZE,
    "max_discard_segments": 1,
    "max_hw_sectors_kb": 124,
    "max_integrity_segments": 0,
    "max_sectors_kb": 124,
    "max_segment_size": 65536,
    "max_segments": 128,
    "minimum_io_size": PAGE_SIZE,
    "nomerges": 0,
    "nr_zones": 0,
    "optimal_io_size": PAGE_SIZE,
    "physical_block_size": PAGE_SIZE,
    "read_ahead_kb": 128,
    "rotational": 0,
    "stable_writes": 1,
    "virt_boundary_mask": 0,
    "write_cache": "write through",
    "write_same_max_bytes": 0,
    "write_zeroes_max_bytes": _MOST_DISCARDED,
    "zone_append_max_bytes": 0,
    "zone_write_granularity": 0,
    "zoned": "none",
}

_NO_NUMBER: Final = "0:0"
_ACTIONS: Final = {"add", "remove", "change", "move", "online", "offline", "bind", "unbind"}  # kobject_actions


class BlockLayerAttributes:
    """Values that never change, the size, and the block device that stands for the device (0:0 if none does)."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device

    def tree(self) -> ControlTree:
        """Return the family's files."""
        return {
            "dev": Attribute(mode=READ_ONLY, show=lambda: f"{self._device.block_device}\n"),
            "size": Attribute(mode=READ_ONLY, show=lambda: f"{self._device.disksize // SECTOR_SIZE}\n"),
            "uevent": Attribute(mode=READ_WRITE, show=self._show_uevent, store=_store_uevent),
            "subsystem": Link("../../block"),  # its name is what tells; it leads to the disks wherever this is bound
            **_constants(_DISK),
            "queue": _constants(_QUEUE),
            "holders": {},
            "slaves": {},
        }

    def _show_uevent(self) -> str:
        major, _, minor = self._device.block_device.partition(":")
        number = "" if self._device.block_device == _NO_NUMBER else f"MAJOR={major}\nMINOR={minor}\n"
        return f"{number}DEVNAME={self._device.name}\nDEVTYPE=disk\n"


async def _store_uevent(text: str) -> None:
    """Take what asks the kernel for an event (kobject_synth_uevent): we have nobody to send one to."""
    action, *_ = text.split(maxsplit=1) or [""]
    if action not in _ACTIONS:
        raise InvalidValue(f"{action!r} is no action")


def _constants(values: dict[str, int | str]) -> dict[str, Attribute]:
    return {name: Attribute(mode=READ_ONLY, show=partial("{}\n".format, value)) for name, value in values.items()}
