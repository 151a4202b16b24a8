"""`zramfs swap`: swap space on a device, with the daemon safe from its own success."""

from contextlib import suppress
from pathlib import Path

import click

from zramfs.cli.commands import run_command
from zramfs.cli.loop import attach_loop, detach_loops, loops_of
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.parameters import device_option, mountpoint_argument
from zramfs.errors import CommandFailed
from zramfs.loop_device import discard_swap_area


@click.group(short_help="Swap on a device, or end it.")
def swap() -> None:
    """Use a device as swap space, or end that."""


@swap.command(short_help="mkswap and swapon, by a loop device.")
@mountpoint_argument
@device_option
@click.option("--priority", type=click.IntRange(-1, 32767), default=100, show_default=True, help="As of swapon.")
def on(mountpoint: Path, device: str, priority: int) -> None:
    """Make a device swap space and print its loop device. What it held is overwritten.

    The daemon first locks its memory and keeps the OOM killer away: it must not be swapped into itself. Pages that swap
    no longer needs are discarded, as the kernel finds 2 MiB of them side by side.
    """
    mounted = MountedZramfs(mountpoint)
    mounted.block_file(device)
    loop_path = attach_loop(mounted, device)
    try:
        _protect(mounted)
        run_command("mkswap", str(loop_path))
        run_command("swapon", "--discard", f"--priority={priority}", str(loop_path))
    except CommandFailed:
        run_command("losetup", "--detach", str(loop_path))
        _unlock_if_unused(mounted)
        raise
    click.echo(loop_path)


@swap.command(short_help="swapoff, and detach the loop device.")
@mountpoint_argument
@device_option
def off(mountpoint: Path, device: str) -> None:
    """End the swap on a device; what is swapped out comes back into memory first, and the device is empty then."""
    mounted = MountedZramfs(mountpoint)
    swaps = _swaps_of(mounted, device)
    if not swaps:
        raise CommandFailed(f"{device} of {mountpoint} is not used for swap")
    for loop_path in swaps:
        run_command("swapoff", str(loop_path))
        with suppress(OSError):  # no discard without the companion
            discard_swap_area(loop_path)
    detach_loops(mounted, device)
    _unlock_if_unused(mounted)


def _protect(mounted: MountedZramfs) -> None:
    try:
        mounted.set_daemon_attribute("memory_locked", "1")
    except OSError as error:
        raise CommandFailed(
            f"the daemon of {mounted.path} cannot lock its memory, which swap needs: {error.strerror}"
        ) from error
    if mounted.daemon_attribute("oom_protected") == "0":
        click.echo(
            "zramfs: warning: without CAP_SYS_RESOURCE the OOM killer may take the daemon, and the swap with it",
            err=True,
        )


def _swaps_of(mounted: MountedZramfs, device: str) -> list[Path]:
    in_use = {Path(line.split()[0]) for line in Path("/proc/swaps").read_text().splitlines()[1:]}
    return [loop_path for loop_path in loops_of(mounted.block_file(device)) if loop_path in in_use]


def _unlock_if_unused(mounted: MountedZramfs) -> None:
    if not any(_swaps_of(mounted, device) for device in mounted.device_names()):
        mounted.set_daemon_attribute("memory_locked", "0")
