"""From disksize to reset (Documentation/admin-guide/blockdev/zram.rst)."""

from zramfs.contracts import Attribute, ControlTree
from zramfs.control.modes import READ_ONLY, READ_WRITE, WRITE_ONLY
from zramfs.control.values import parse_flag_u16
from zramfs.device.device import ZramDevice
from zramfs.device.device_set import DeviceSet
from zramfs.errors import InvalidValue
from zramfs.units import memparse


class LifeAttributes:
    """What a device is, and whether it is. Each `store_…` takes the text of one write(2); errors carry their errno."""

    def __init__(self, device: ZramDevice, devices: DeviceSet) -> None:
        self._device = device
        self._devices = devices

    def tree(self) -> ControlTree:
        """Return the family's files."""
        return {
            "disksize": Attribute(
                mode=READ_WRITE, show=self.show_disksize, store=self.store_disksize, changes_files=True
            ),
            "initstate": Attribute(mode=READ_ONLY, show=lambda: f"{self._device.is_initialised:d}\n"),
            "reset": Attribute(mode=WRITE_ONLY, store=self.store_reset, changes_files=True),
        }

    def show_disksize(self) -> str:
        """disksize_show: bytes, 0 while uninitialised."""
        return f"{self._device.disksize}\n"

    async def store_disksize(self, text: str) -> None:
        """disksize_store: a size as memparse reads it, not 0; EBUSY once initialised."""
        size_bytes = memparse(text)
        if not size_bytes:
            raise InvalidValue(f"{text!r} is not a disksize")
        self._device.initialise(size_bytes)

    async def store_reset(self, text: str) -> None:
        """reset_store: any u16 but 0; EBUSY while anybody has it open."""
        if not parse_flag_u16(text):
            raise InvalidValue("0 does not reset")
        await self._devices.reset(self._device)
