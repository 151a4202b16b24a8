"""`zramfs swap`: swap space on a device, with the daemon safe from its own success."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import click

from zramfs.block_device import discard_swap_area, is_readable
from zramfs.cli.asking import ask_living
from zramfs.cli.commands import run_command
from zramfs.cli.loop import attach_loop, detach_unused
from zramfs.cli.loops import left_loops
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.parameters import device_option, mountpoint_argument
from zramfs.cli.verb_names import VerbGroup
from zramfs.errors import CommandFailed, MountIsDead, NotMounted, ZramError
from zramfs.loop_device import LoopDevices
from zramfs.units import format_bytes


@click.group(cls=VerbGroup, short_help="Swap on a device, or end it.")
def swap() -> None:
    """Use a device as swap space, or end that."""


@swap.command(short_help="mkswap and swapon, by a loop device.")
@mountpoint_argument
@device_option
@click.option("--priority", type=click.IntRange(-1, 32767), default=100, show_default=True, help="As of swapon.")
def on(mountpoint: Path, device: str, priority: int) -> None:
    """Make a device swap space and print its loop device. The device's contents are overwritten.

    The daemon first locks its memory and keeps the OOM killer away: it must not be swapped into itself. The kernel
    discards pages that swap has freed, in clusters of 2 MiB.
    """
    mounted = MountedZramfs(mountpoint)
    with ExitStack() as undo:
        loop_path = attach_loop(mounted, device)
        undo.callback(_try, partial(detach_unused, [loop_path]))
        undo.callback(_try, partial(_unlock_if_unused, mounted))
        _protect(mounted)
        run_command("mkswap", str(loop_path))
        run_command("swapon", "--discard", f"--priority={priority}", str(loop_path))
        undo.pop_all()
    click.echo(loop_path)


@swap.command(short_help="swapoff, and detach the loop device.")
@mountpoint_argument
@device_option
def off(mountpoint: Path, device: str) -> None:
    """End the swap on a device; swapped-out pages come back into memory first, and the device is then empty.

    It also ends the swap that a killed daemon has left; the pages swapped out to it are lost.
    """
    swaps = _swaps_of(mountpoint, device)
    mounted = _living(mountpoint, or_left=swaps)
    if not swaps:
        raise CommandFailed(f"{device} of {mountpoint} is not used for swap")
    for loop_path in swaps:
        _end_swap(loop_path)
    detach_unused(swaps)
    if mounted is not None:
        _unlock_if_unused(mounted)


def _try(undo: Callable[[], None]) -> None:
    """Undo a step as far as that is possible: what went wrong before is what the user is to read."""
    with suppress(ZramError, OSError):
        undo()


def _protect(mounted: MountedZramfs) -> None:
    if not ask_living(mounted.mount, lambda: _lock(mounted), as_owner=False):
        click.echo(
            "zramfs: warning: without CAP_SYS_RESOURCE the OOM killer may take the daemon, and the swap with it",
            err=True,
        )


def _lock(mounted: MountedZramfs) -> bool:
    """Have the daemon lock its memory; whether the OOM killer spares it as well."""
    try:
        mounted.set_daemon_attribute("memory_locked", "1")
    except OSError as error:
        raise CommandFailed(
            f"the daemon of {mounted.path} cannot lock its memory, which swap needs: {error.strerror}"
        ) from error
    return mounted.daemon_attribute("oom_protected") != "0"


def _swaps_of(mountpoint: Path, device: str) -> list[Path]:
    """Return the loop devices over a device that are used for swap; daemon and mount may be gone."""
    in_use = _swapped_bytes()
    return [loop_path for loop_path in left_loops(mountpoint, device) if loop_path in in_use]


def _swapped_bytes() -> dict[Path, int]:
    """Return how much is swapped out, by device."""
    lines = (line.split() for line in Path("/proc/swaps").read_text().splitlines()[1:])
    return {Path(name): int(used_kib) * 1024 for name, _, _, used_kib, _ in lines}


def _living(mountpoint: Path, *, or_left: Sequence[Path]) -> MountedZramfs | None:
    """Return the mount; None if only swap is left of it (`or_left`). MountDoesNotAnswer if it is hung."""
    try:
        mounted = MountedZramfs(mountpoint)
        ask_living(mounted.mount, lambda: None, as_owner=False)
    except (NotMounted, MountIsDead):
        if not or_left:
            raise
        return None
    return mounted


def _end_swap(loop_path: Path) -> None:
    """End the swap on a loop device; the kernel gives up what it cannot read any more."""
    try:
        lost_bytes = 0 if is_readable(loop_path) else _swapped_bytes().get(loop_path, 0)
    except TimeoutError:
        raise CommandFailed(f"the daemon behind {loop_path} does not answer: end it, and then the swap") from None
    run_command("swapoff", str(loop_path))
    with suppress(OSError):  # no discard without the companion
        discard_swap_area(loop_path)
    if lost_bytes:
        click.echo(
            f"zramfs: warning: {format_bytes(lost_bytes)} that were swapped out to {loop_path} are lost, for its "
            "daemon has died: processes that touch them get SIGBUS",
            err=True,
        )


def _unlock_if_unused(mounted: MountedZramfs) -> None:
    swapped = LoopDevices().numbers_named_beneath(mounted.mount.path)
    if not any(LoopDevices().path(number) in _swapped_bytes() for number in swapped):
        ask_living(mounted.mount, lambda: mounted.set_daemon_attribute("memory_locked", "0"), as_owner=False)
