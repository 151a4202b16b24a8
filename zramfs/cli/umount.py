"""`zramfs umount`: unmount, and wait until the daemon has gone."""

import os
import select
from pathlib import Path
from typing import Final

import click

from zramfs.cli.loop import loops_of
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.parameters import mountpoint_argument
from zramfs.errors import MountFailed
from zramfs.fuse.mountpoint import unmount

_DAEMON_END_MS: Final = 60_000


@click.command(short_help="Unmount, and wait for the daemon to end.")
@mountpoint_argument
def umount(mountpoint: Path) -> None:
    """Unmount MOUNTPOINT: answer what is in flight, give all memory back, and wait for the daemon to end.

    A mount that is in use stays as it is.
    """
    mounted = MountedZramfs(mountpoint)
    pid = mounted.pid
    daemon_fd = os.pidfd_open(pid)
    try:
        unmount(mounted.mount)
    except MountFailed as error:
        if "busy" not in str(error):
            raise
        raise MountFailed(f"{mountpoint} is busy: {_users(mounted)}") from error
    poll = select.poll()
    poll.register(daemon_fd, select.POLLIN)
    if not poll.poll(_DAEMON_END_MS):
        raise MountFailed(f"{mountpoint} is unmounted, but its daemon (process {pid}) does not end")


def _users(mounted: MountedZramfs) -> str:
    """Say who uses the mount, and what to do about it."""
    if mounted.keeper_pid:
        return f"zramfs exec uses it (process {mounted.keeper_pid}); end its command first"
    for name in mounted.device_names():
        for loop_path in loops_of(mounted.block_file(name)):
            return (
                f"{name} is attached to {loop_path}; unmount or swapoff what is on it, "
                f"then: zramfs loop detach {mounted.path} --device {name}"
            )
    return "a program has a file of it open, or its folder as working directory (fuser -vm shows which)"
