"""The block layer's attributes of a disk (Documentation/ABI/stable/sysfs-block), for lsblk and libudev."""

from typing import Final

from zramfs.contracts import Attribute, ControlTree, Link
from zramfs.control.modes import READ_ONLY, READ_WRITE
from zramfs.control.queue import QueueAttributes, constants
from zramfs.device.device import ZramDevice
from zramfs.errors import InvalidValue
from zramfs.units import SECTOR_SIZE

_DISK: Final[dict[str, int | str]] = {
    "ro": 0,
    "removable": 0,
    "hidden": 0,
    "range": 1,
    "ext_range": 1,
    "alignment_offset": 0,
    "discard_alignment": 0,
}
"""As the kernel's zram has them."""

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
            **constants(_DISK),
            "queue": QueueAttributes().tree(),
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
