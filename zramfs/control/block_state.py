"""The debugging file of a device, as in /sys/kernel/debug/zram/zramN (read_block_state)."""

from collections.abc import Iterator

from zramfs.contracts import Attribute, ControlTree
from zramfs.control.modes import ROOT_READ_ONLY
from zramfs.device.device import ZramDevice
from zramfs.errors import NotInitialised


def debug_attributes(device: ZramDevice) -> ControlTree:
    """Return the folder sys/kernel/debug/zram/zramN."""

    def show_block_state() -> Iterator[str]:
        """A line a page; EINVAL while uninitialised."""
        if not device.is_initialised:
            raise NotInitialised(f"{device.name} is not initialised")
        return device.upkeep.block_state()

    return {
        "block_state": Attribute(
            mode=ROOT_READ_ONLY, show_portions=show_block_state, text_bytes=device.upkeep.block_state_bytes
        )
    }
