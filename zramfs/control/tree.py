"""Where the control files are, from the mount point on: those that stay, and those of a device."""

import os
from collections.abc import Awaitable
from functools import partial
from typing import Protocol

from zramfs import __version__
from zramfs.contracts import Attribute, ControlTree
from zramfs.control.block_state import debug_attributes
from zramfs.control.device_attributes import device_attributes
from zramfs.control.hot_plug import HotPlugAttributes
from zramfs.control.modes import READ_ONLY, READ_WRITE, ROOT_READ_WRITE
from zramfs.control.report import ReportAttribute
from zramfs.control.transport import TransportAttribute
from zramfs.control.values import parse_flag_u16, parse_path
from zramfs.device.device import ZramDevice
from zramfs.device.device_set import DeviceSet
from zramfs.process import SwapGuard, rss_bytes
from zramfs.receive.receivers import Receivers
from zramfs.request_memory import RequestMemory


class Keepers(Protocol):
    """Who shows the devices in a namespace (`namespace.link`)."""

    keeper_pid: int

    def connect(self, path: str) -> Awaitable[None]:
        """Connect to the keeper that listens at a socket; DeviceBusy while there is another."""


def control_tree(
    devices: DeviceSet,
    swap_guard: SwapGuard,
    keepers: Keepers,
    request_memory: RequestMemory,
    receivers: Receivers,
    *,
    metrics_address: str = "none",
) -> ControlTree:
    """Folders and files under the mount point that are there with any devices, or none."""
    ours: ControlTree = {
        **_daemon_tree(swap_guard, keepers, request_memory),
        "transport": TransportAttribute(receivers, devices).attribute(),
        "metrics": Attribute(mode=READ_ONLY, show=lambda: f"{metrics_address}\n"),
    }
    report = ReportAttribute(ours, devices, partial(device_attributes, devices=devices)).attribute()
    return {
        "sys": {
            "block": {},
            "class": {"zram-control": HotPlugAttributes(devices).tree()},
            "fs": {"zramfs": {**ours, "report": report}},
            "kernel": {"debug": {"zram": {}}},
        }
    }


def device_tree(device: ZramDevice, devices: DeviceSet) -> ControlTree:
    """What a device adds to them."""
    return {
        "sys": {
            "block": {device.name: device_attributes(device, devices)},
            "kernel": {"debug": {"zram": {device.name: debug_attributes(device)}}},
        }
    }


def _daemon_tree(swap_guard: SwapGuard, keepers: Keepers, request_memory: RequestMemory) -> ControlTree:
    """Ours: sys/fs/zramfs, where a file system of the kernel has its own attributes."""

    async def store_memory_locked(text: str) -> None:
        if parse_flag_u16(text):
            swap_guard.turn_on()
        else:
            swap_guard.turn_off()

    async def store_keeper(text: str) -> None:
        await keepers.connect(parse_path(text))

    return {
        "pid": Attribute(mode=READ_ONLY, show=lambda: f"{os.getpid()}\n"),
        "version": Attribute(mode=READ_ONLY, show=lambda: f"{__version__}\n"),
        "rss_bytes": Attribute(mode=READ_ONLY, show=lambda: f"{rss_bytes()}\n"),
        "request_bytes": Attribute(mode=READ_ONLY, show=lambda: f"{request_memory.held_bytes}\n"),
        "request_limit_bytes": Attribute(mode=READ_ONLY, show=lambda: f"{request_memory.limit_bytes}\n"),
        "memory_locked": Attribute(
            mode=READ_WRITE, show=lambda: f"{swap_guard.is_memory_locked:d}\n", store=store_memory_locked
        ),
        "keeper": Attribute(mode=ROOT_READ_WRITE, show=lambda: f"{keepers.keeper_pid}\n", store=store_keeper),
        "oom_protected": Attribute(mode=READ_ONLY, show=lambda: f"{swap_guard.is_oom_protected:d}\n"),
    }
