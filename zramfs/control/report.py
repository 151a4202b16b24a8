"""Ours: what the files hold that tell of a mount, in one file, so that whoever wants all of it opens one."""

import json
from collections.abc import Callable, Iterator
from typing import Final, cast

import trio

from zramfs.contracts import Attribute, ControlTree
from zramfs.control.modes import READ_ONLY
from zramfs.device.device import ZramDevice
from zramfs.device.device_set import DeviceSet

_OF_DEVICES: Final = (
    "disksize",
    "algorithm_stat",
    "mm_stat",
    "mem_limit_stat",
    "bd_stat",
    "io_stat",
    "stream_policy",
    "stream_stat",
    "stat",
    "latency_stat",
)
_FOLDERS_OF_DEVICES: Final = ("accel",)


class ReportAttribute:
    """The daemon's `report`: JSON with the texts of its own files and of the devices', by their paths.

    `attributes_of` gives the folder of a device.
    """

    def __init__(
        self, daemon: ControlTree, devices: DeviceSet, attributes_of: Callable[[ZramDevice], ControlTree]
    ) -> None:
        self._daemon = daemon
        self._attributes_of = attributes_of
        self._folders: dict[ZramDevice, ControlTree] = {}
        devices.watch(self)

    def device_added(self, device: ZramDevice) -> None:
        """Report it from now on."""
        self._folders[device] = self._attributes_of(device)

    def device_removed(self, device: ZramDevice) -> None:
        """Report it no more."""
        del self._folders[device]

    def attribute(self) -> Attribute:
        """Return the file."""
        return Attribute(mode=READ_ONLY, show_async=self.show)

    async def show(self) -> str:
        """Ours: each device as it is at one moment; others have their turn between two of them."""
        texts = dict(_shown("sys/fs/zramfs", self._daemon))
        for device, folder in list(self._folders.items()):
            texts.update(_device_texts(f"sys/block/{device.name}", folder))
            await trio.lowlevel.checkpoint()
        return json.dumps(texts)


def _device_texts(path: str, tree: ControlTree) -> Iterator[tuple[str, str]]:
    yield from _shown(path, {name: tree[name] for name in _OF_DEVICES})
    for folder in _FOLDERS_OF_DEVICES:
        yield from _shown(f"{path}/{folder}", cast("ControlTree", tree[folder]))


def _shown(path: str, tree: ControlTree) -> Iterator[tuple[str, str]]:
    """Return path and text of each file that can be shown at once, and by everybody."""
    for name, entry in tree.items():
        if isinstance(entry, Attribute) and entry.show is not None and entry.mode & 0o004:
            yield f"{path}/{name}", entry.show()
