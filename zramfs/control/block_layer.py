"""What the block layer shows of a disk (Documentation/ABI/stable/sysfs-block): lsblk and its like look for it."""

from functools import partial
from typing import Final

from zramfs.contracts import Attribute, ControlTree
from zramfs.control.modes import READ_ONLY
from zramfs.device.device import ZramDevice
from zramfs.units import PAGE_SIZE, SECTOR_SIZE

_DISK: Final = {"ro": 0, "removable": 0, "hidden": 0, "range": 1, "ext_range": 1, "alignment_offset": 0}
"""As the kernel's zram has them; so are those of the queue, as far as they hold for a loop device with direct I/O."""

_QUEUE: Final = {
    "discard_granularity": PAGE_SIZE,
    "hw_sector_size": PAGE_SIZE,
    "logical_block_size": PAGE_SIZE,
    "minimum_io_size": PAGE_SIZE,
    "optimal_io_size": PAGE_SIZE,
    "physical_block_size": PAGE_SIZE,
    "rotational": 0,
}


class BlockLayerAttributes:
    """Numbers that never change, the size, and the block device that stands for the device (0:0 if none does)."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device

    def tree(self) -> ControlTree:
        """Return the family's files."""
        return {
            "dev": Attribute(mode=READ_ONLY, show=lambda: f"{self._device.block_device}\n"),
            "size": Attribute(mode=READ_ONLY, show=lambda: f"{self._device.disksize // SECTOR_SIZE}\n"),
            **_constants(_DISK),
            "queue": _constants(_QUEUE),
            "holders": {},
            "slaves": {},
        }


def _constants(values: dict[str, int]) -> dict[str, Attribute]:
    return {name: Attribute(mode=READ_ONLY, show=partial("{}\n".format, value)) for name, value in values.items()}
