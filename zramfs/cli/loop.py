"""`zramfs loop`: a block file as a loop device, with the options that suit it."""

import os
from collections.abc import Iterable
from pathlib import Path

import click

from zramfs.cli.commands import run_command
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.parameters import device_option, mountpoint_argument
from zramfs.cli.trust import require_trusted_owner
from zramfs.errors import CommandFailed, DeviceBusy, MountFailed, NotInitialised
from zramfs.loop_device import LoopDevices, is_readable
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
    try:
        detach_loops(MountedZramfs(mountpoint), device)
    except MountFailed:
        loops = left_loops(mountpoint, device)
        if not loops:
            raise
        detach_unused(loops)


def attach_loop(mounted: MountedZramfs, device: str) -> Path:
    """Attach a device; the path of its loop device. Only one: two would be two views of the same blocks."""
    require_trusted_owner(mounted)
    block_file = mounted.block_file(device)
    if mounted.attribute(device, "initstate") == "0":
        raise NotInitialised(f"{device} has no size yet: echo 1G > {mounted.path}/sys/block/{device}/disksize")
    if mounted.keeper_pid:
        raise DeviceBusy(f"zramfs exec uses the devices of {mounted.path} (process {mounted.keeper_pid})")
    for loop_path in loops_of(block_file):
        raise DeviceBusy(f"{device} is attached to {loop_path} already")
    loop_path = Path(
        run_command("losetup", "--find", "--show", "--direct-io=on", "--sector-size=4096", str(block_file))
    )
    _require_on_mount(loop_path, mounted)
    LoopDevices().note_name(_number(loop_path), str(mounted.mount.path / device))
    return loop_path


def _require_on_mount(loop_path: Path, mounted: MountedZramfs) -> None:
    """Detach a loop device that is over a file of another file system: losetup follows links."""
    if LoopDevices().file_system_of(_number(loop_path)) != mounted.mount.device_number:
        run_command("losetup", "--detach", str(loop_path))
        raise CommandFailed(f"{mounted.path} leads elsewhere, and not to a block file of its own")


def _number(loop_path: Path) -> int:
    return int(loop_path.name.removeprefix("loop"))


def loops_of(block_file: Path) -> list[Path]:
    """Return the loop devices that a block file is attached to."""
    listing = run_command("losetup", "--associated", str(block_file), "--noheadings", "--output=NAME")
    return [Path(line.strip()) for line in listing.splitlines()]


def detach_loops(mounted: MountedZramfs, device: str) -> None:
    """Detach a device from all its loop devices, none of which may be in use."""
    loops = {*loops_of(mounted.block_file(device)), *left_loops(mounted.path, device)}
    if not loops:
        raise CommandFailed(f"{device} of {mounted.path} is attached to no loop device")
    detach_unused(loops)


def left_loops(mountpoint: Path, device: str) -> list[Path]:
    """Return the loop devices over a device of a mount point; daemon and mount may be gone."""
    loops = LoopDevices()
    return [loops.path(number) for number in loops.numbers_named_beneath(absolute(mountpoint), device)]


def release_left_loops(mountpoint: Path) -> bool:
    """Detach the loop devices that a dead daemon has left, and say which are in use; whether there are any.

    Those of a living daemon, whose mount was taken away lazily, have users.
    """
    loops = LoopDevices()
    dead = [number for number in loops.numbers_named_beneath(mountpoint) if not is_readable(loops.path(number))]
    for number in dead:
        if not loops.detach(number):
            click.echo(
                f"zramfs: warning: {loops.path(number)} is still attached, and in use: zramfs swap off {mountpoint}, "
                f"or unmount what is on it and: zramfs loop detach {mountpoint}",
                err=True,
            )
    return bool(dead)


def detach_unused(loops: Iterable[Path]) -> None:
    """Detach loop devices, none of which may be in use."""
    for loop_path in loops:
        _require_unused(loop_path)
        run_command("losetup", "--detach", str(loop_path))


def _require_unused(loop_path: Path) -> None:
    """O_EXCL fails on a block device that is mounted or used for swap; losetup itself would only detach it later."""
    try:
        os.close(os.open(loop_path, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        raise DeviceBusy(f"{loop_path} is in use: unmount or swapoff it first") from error
