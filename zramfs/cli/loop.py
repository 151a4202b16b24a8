"""`zramfs loop`: a block file as a loop device, with the options that suit it."""

import os
from collections.abc import Iterable
from pathlib import Path

import click

from zramfs.cli.asking import ask_living
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.parameters import device_option, mountpoint_argument
from zramfs.cli.trust import require_trusted_owner
from zramfs.errors import CommandFailed, DeviceBusy, MountDoesNotAnswer, MountFailed, NotInitialised
from zramfs.loop_device import FILE_FLAGS, BackingFile, LoopDevices, is_readable
from zramfs.mountpoint import absolute


@click.group(short_help="Attach a block file to a loop device, or detach it.")
def loop() -> None:
    """Attach a block file to a loop device, or detach it."""


@loop.command(short_help="Attach, and print the loop device.")
@mountpoint_argument
@device_option
def attach(mountpoint: Path, device: str) -> None:
    """Attach a device to a free loop device, with direct I/O and sectors of 4096 bytes, and print which one it is."""
    click.echo(attach_loop(MountedZramfs(mountpoint), device))


@loop.command(short_help="Detach from its loop device.")
@mountpoint_argument
@device_option
def detach(mountpoint: Path, device: str) -> None:
    """Detach a device from its loop devices; an error if it has none, or one is mounted or used for swap.

    The loop devices of a killed daemon are found as well, even when its mount is gone.
    """
    loops = sorted({Path(path) for path in _attached_loops(mountpoint, device)})
    if not loops:
        raise CommandFailed(f"{device} of {mountpoint} is attached to no loop device")
    detach_unused(loops)


def attach_loop(mounted: MountedZramfs, device: str) -> Path:
    """Attach a device; the path of its loop device. MountDoesNotAnswer if that takes too long."""
    require_trusted_owner(mounted)
    number = ask_living(mounted.mount, lambda: _attach(mounted, device), as_owner=False)
    return LoopDevices().path(number)


def _attach(mounted: MountedZramfs, device: str) -> int:
    """Attach to one loop device only: two would be two views of the same blocks."""
    mounted.require_device(device)
    if mounted.attribute(device, "initstate") == "0":
        raise NotInitialised(f"{device} has no size yet: echo 1G > {mounted.path}/sys/block/{device}/disksize")
    if mounted.keeper_pid:
        raise DeviceBusy(f"zramfs exec uses the devices of {mounted.path} (process {mounted.keeper_pid})")
    for loop_path in loops_of(mounted, device):
        raise DeviceBusy(f"{device} is attached to {loop_path} already")
    with mounted.opened_block_file(device, FILE_FLAGS) as file_fd:
        return LoopDevices().attach(file_fd, str(mounted.mount.path / device))


def loops_of(mounted: MountedZramfs, device: str) -> list[Path]:
    """Return the loop devices that a device is attached to."""
    with mounted.opened_block_file(device, os.O_PATH) as file_fd:
        status = os.fstat(file_fd)
    loops = LoopDevices()
    return [loops.path(number) for number in loops.numbers_of(BackingFile(status.st_dev, status.st_ino), device)]


def _attached_loops(mountpoint: Path, device: str) -> list[str]:
    """Return the loop devices of a device, also those that a killed daemon has left."""
    left = [str(loop_path) for loop_path in left_loops(mountpoint, device)]
    try:
        mounted = MountedZramfs(mountpoint)
        found = ask_living(mounted.mount, lambda: _loops_of_device(mounted, device), as_owner=False)
    except MountDoesNotAnswer:
        raise
    except MountFailed:
        if not left:
            raise
        return left
    return [*left, *found]


def _loops_of_device(mounted: MountedZramfs, device: str) -> list[str]:
    mounted.require_device(device)
    return [str(loop_path) for loop_path in loops_of(mounted, device)]


def left_loops(mountpoint: Path, device: str) -> list[Path]:
    """Return the loop devices over a device of a mount point; daemon and mount may be gone."""
    loops = LoopDevices()
    return [loops.path(number) for number in loops.numbers_named_beneath(absolute(mountpoint), device)]


def release_left_loops(mountpoint: Path) -> bool:
    """Detach the loop devices that a dead daemon has left, and say which are in use; whether there are any.

    Those of a living daemon, whose mount was taken away lazily, have users.
    """
    loops = LoopDevices()
    dead = [number for number in loops.numbers_named_beneath(mountpoint) if _is_left(loops.path(number))]
    for number in dead:
        if not loops.detach(number):
            click.echo(
                f"zramfs: warning: {loops.path(number)} is still attached, and in use: zramfs swap off {mountpoint}, "
                f"or unmount what is on it and: zramfs loop detach {mountpoint}",
                err=True,
            )
    return bool(dead)


def _is_left(loop_path: Path) -> bool:
    try:
        return not is_readable(loop_path)
    except TimeoutError:
        click.echo(f"zramfs: warning: {loop_path} is still attached: its daemon does not answer", err=True)
        return False


def detach_unused(loops: Iterable[Path]) -> None:
    """Detach loop devices; DeviceBusy at the first that is in use."""
    for loop_path in loops:
        if not LoopDevices().detach(int(loop_path.name.removeprefix("loop"))):
            raise DeviceBusy(f"{loop_path} is in use: unmount or swapoff it first")
