"""`zramfs loop`: a block file as a loop device, with the options that suit it."""

import errno
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from zramfs.block_device import is_readable
from zramfs.cli.asking import ask_living
from zramfs.cli.fitting import Heading, fitting_list, terminal_width
from zramfs.cli.loops import left_loops, loops_of
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.parameters import FilePath, Parsed, device_option, json_option, mountpoint_argument
from zramfs.cli.trust import require_trusted_owner
from zramfs.cli.verb_names import VerbGroup
from zramfs.errors import (
    CommandFailed,
    DeviceBusy,
    InvalidValue,
    MountDoesNotAnswer,
    MountFailed,
    NotInitialised,
    ReadOnlyDevice,
)
from zramfs.foreign import printable
from zramfs.loop_device import LoopDevices, LoopShape
from zramfs.mountpoint import absolute, find_mount_at
from zramfs.units import parse_size

_HEADINGS: Final = (
    Heading("LOOP", is_text=True),
    *(Heading("SECTOR"), Heading("OFFSET"), Heading("RO", is_text=True), Heading("FILE", is_text=True)),
)


@click.group(cls=VerbGroup, short_help="Attach a block file to a loop device, or detach it.")
def loop() -> None:
    """Attach a block file to a loop device, or detach it."""


@loop.command(short_help="Attach, and print the loop device.")
@mountpoint_argument
@device_option
@click.option("--read-only", is_flag=True, help="Let nobody write by the loop device.")
@click.option(
    "--sector-size",
    "sector_bytes",
    type=click.Choice(["512", "1024", "2048", "4096"]),
    default="4096",
    show_default=True,
    help="Bytes of a sector; with fewer than 4096, writes come that patch a page.",
)
@click.option("--offset", type=Parsed("size", parse_size), default="0", help="Where in the device it begins.")
def attach(mountpoint: Path, device: str, sector_bytes: str, offset: int, *, read_only: bool) -> None:
    """Attach a device to a free loop device, with direct I/O, and print which one it is."""
    if offset % int(sector_bytes):
        raise click.BadParameter(f"{offset} is no multiple of the sector size, {sector_bytes}", param_hint="--offset")
    shape = LoopShape(is_read_only=read_only, sector_bytes=int(sector_bytes), offset_bytes=offset)
    click.echo(attach_loop(MountedZramfs(mountpoint), device, shape))


@loop.command("list", short_help="List the loop devices over block files.")
@click.argument("mountpoint", type=FilePath(), required=False)
@json_option
def list_(mountpoint: Path | None, *, as_json: bool) -> None:
    """List the loop devices over block files, those of MOUNTPOINT or all. The daemons are not asked.

    The block file of a mount that has gone shows as /zramN.
    """
    rows = [_row(number, file) for number, file in LoopDevices().bound() if _is_of(mountpoint, file)]
    if as_json:
        click.echo(json.dumps({"loops": rows}, indent=2))
        return
    cells = [[str(cell) for cell in (row | {"read_only": "ro" if row["read_only"] else "rw"}).values()] for row in rows]
    for line in fitting_list(_HEADINGS, cells, terminal_width()):
        click.echo(line)


def _is_of(mountpoint: Path | None, file: Path) -> bool:
    """Whether a file is on a zramfs, or was on one that has gone; by its path alone."""
    if mountpoint is not None:
        return file.parent == absolute(mountpoint)
    mount = find_mount_at(file.parent)
    return file.parent == Path("/") or (mount is not None and mount.is_ours)


def _row(number: int, file: Path) -> dict[str, Any]:
    loops = LoopDevices()
    shape = loops.shape(number)
    return {
        "loop": str(loops.path(number)),
        "sector_size": shape.sector_bytes,
        "offset": shape.offset_bytes,
        "read_only": shape.is_read_only,
        "file": printable(str(file)),
    }


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


def attach_loop(mounted: MountedZramfs, device: str, shape: LoopShape | None = None) -> Path:
    """Attach a device; the path of its loop device. MountDoesNotAnswer if that takes too long."""
    require_trusted_owner(mounted)
    number = ask_living(mounted.mount, lambda: _attach(mounted, device, shape or LoopShape()), as_owner=False)
    return LoopDevices().path(number)


def _attach(mounted: MountedZramfs, device: str, shape: LoopShape) -> int:
    """Attach to one loop device only: two would be two views of the same blocks."""
    mounted.require_device(device)
    if mounted.attribute(device, "initstate") == "0":
        raise NotInitialised(f"{device} has no size yet: echo 1G > {mounted.path}/sys/block/{device}/disksize")
    if shape.offset_bytes >= int(mounted.attribute(device, "disksize")):
        raise InvalidValue(f"{device} ends before byte {shape.offset_bytes}, where the loop device was to begin")
    if mounted.keeper_pid:
        raise DeviceBusy(f"zramfs exec uses the devices of {mounted.path} (process {mounted.keeper_pid})")
    for loop_path in loops_of(mounted, device):
        raise DeviceBusy(f"{device} is attached to {loop_path} already")
    try:
        with mounted.opened_block_file(device, shape.file_flags) as file_fd:
            return LoopDevices().attach(file_fd, str(mounted.mount.path / device), shape=shape)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        raise ReadOnlyDevice(f"{device} of {mounted.path} is read-only: attach it with --read-only") from error


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
