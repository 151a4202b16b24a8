"""The loop devices over the devices of a mount, of a living one or of one that has left them."""

import os
from pathlib import Path

from zramfs.cli.mounted import MountedZramfs
from zramfs.loop_device import BackingFile, LoopDevices
from zramfs.mountpoint import absolute


def loops_of(mounted: MountedZramfs, device: str) -> list[Path]:
    """Return the loop devices that a device is attached to."""
    with mounted.opened_block_file(device, os.O_PATH) as file_fd:
        status = os.fstat(file_fd)
    loops = LoopDevices()
    return [loops.path(number) for number in loops.numbers_of(BackingFile(status.st_dev, status.st_ino), device)]


def left_loops(mountpoint: Path, device: str) -> list[Path]:
    """Return the loop devices over a device of a mount point; daemon and mount may be gone."""
    loops = LoopDevices()
    return [loops.path(number) for number in loops.numbers_named_beneath(absolute(mountpoint), device)]
