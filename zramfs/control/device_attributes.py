"""The attributes of one device, as in /sys/block/zramN, and ours: one family of them a file."""

from typing import Final

from zramfs.contracts import Attribute, ControlTree, Link
from zramfs.control.accelerator import AcceleratorAttributes
from zramfs.control.algorithms import AlgorithmAttributes
from zramfs.control.block_layer import BlockLayerAttributes
from zramfs.control.idle import IdleAttributes
from zramfs.control.life import LifeAttributes
from zramfs.control.memory import MemoryAttributes
from zramfs.control.recompress import RecompressAttributes
from zramfs.control.requests import RequestAttributes
from zramfs.control.streams import StreamAttributes
from zramfs.control.writeback import WritebackAttributes
from zramfs.device.device import ZramDevice
from zramfs.device.device_set import DeviceSet

_FAMILIES: Final = (
    AlgorithmAttributes,
    MemoryAttributes,
    IdleAttributes,
    RecompressAttributes,
    WritebackAttributes,
    RequestAttributes,
    StreamAttributes,
    AcceleratorAttributes,
    BlockLayerAttributes,
)


def device_attributes(device: ZramDevice, devices: DeviceSet) -> ControlTree:
    """Return the folder sys/block/zramN of one of `devices`."""
    tree: dict[str, Attribute | Link | ControlTree] = {**LifeAttributes(device, devices).tree()}
    for family in _FAMILIES:
        tree.update(family(device).tree())
    return tree
