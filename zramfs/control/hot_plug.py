"""hot_add and hot_remove, as in /sys/class/zram-control."""

from zramfs.contracts import Attribute, ControlTree
from zramfs.control.modes import ROOT_READ_ONLY, WRITE_ONLY
from zramfs.control.values import parse_int
from zramfs.device.device_set import DeviceSet
from zramfs.errors import InvalidValue


class HotPlugAttributes:
    """Devices come and go while the mount stays."""

    def __init__(self, devices: DeviceSet) -> None:
        self._devices = devices

    def tree(self) -> ControlTree:
        """Return the folder sys/class/zram-control."""
        return {
            "hot_add": Attribute(mode=ROOT_READ_ONLY, show_async=self.show_hot_add),
            "hot_remove": Attribute(mode=WRITE_ONLY, store=self.store_hot_remove, changes_files=True),
        }

    async def show_hot_add(self) -> str:
        """hot_add_show: each read makes a device, and returns its number."""
        return f"{await self._devices.hot_add()}\n"

    async def store_hot_remove(self, text: str) -> None:
        """hot_remove_store: the number of a device; EBUSY while anybody has it open."""
        number = parse_int(text)
        if number < 0:
            raise InvalidValue(f"{number} is not the number of a device")
        await self._devices.hot_remove(number)
