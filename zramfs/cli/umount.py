"""`zramfs umount`: unmount, and wait until the daemon has gone."""

import os
import select
import time
from functools import partial
from pathlib import Path
from typing import Final

import click

from zramfs.cli.asking import ask, ask_living, owner_name
from zramfs.cli.loop import release_left_loops
from zramfs.cli.loops import loops_of
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.parameters import mountpoint_argument
from zramfs.errors import MountFailed, MountIsDead, NotMounted
from zramfs.mountinfo import seen_by
from zramfs.mountpoint import Mount, absolute
from zramfs.supervise.remains import name_users
from zramfs.unmounting import unmount, unmount_as_root

_DAEMON_SOON_MS: Final = 2_000
_DAEMON_END_MS: Final = 60_000

_PASSING_USERS_S: Final = 1.0
_BETWEEN_TRIES_S: Final = 0.02

_UNKNOWN_USER: Final = "a program has a file of it open, or its folder as working directory (fuser -vm shows which)"


@click.command(short_help="Unmount, and wait for the daemon to end.")
@mountpoint_argument
@click.option("--lazy", is_flag=True, help="Unmount at once; the daemon ends when the last user goes.")
@click.option("--if-mounted", is_flag=True, help="Succeed where no zramfs is mounted.")
def umount(mountpoint: Path, *, lazy: bool, if_mounted: bool) -> None:
    """Unmount MOUNTPOINT: answer what is in flight, give all memory back, and wait for the daemon to end.

    A mount that is in use stays as it is, unless --lazy. The dead mount and the loop devices of a killed daemon are
    taken away.
    """
    try:
        mounted = MountedZramfs(mountpoint)
    except NotMounted:
        if not release_left_loops(absolute(mountpoint)) and not if_mounted:
            raise
        return
    mount = mounted.mount
    if os.geteuid() not in (0, mount.owner_uid):
        raise MountFailed(
            f"the zramfs at {mountpoint} is {owner_name(mount)}'s: only its owner and root can unmount it"
        )
    if lazy:
        _unmount(mount, lazily=True)
        return
    try:
        pid = ask_living(mount, lambda: mounted.pid)
    except MountIsDead:
        _unmount(mount, lazily=True)
        release_left_loops(mount.path)
        return
    _unmount_and_wait(mounted, pid)


def _unmount_and_wait(mounted: MountedZramfs, pid: int) -> None:
    mount = mounted.mount
    daemon_fd = _open_daemon(mount, pid)
    _unmount_unless_in_use(mounted)
    if daemon_fd is None:
        return
    poll = select.poll()
    poll.register(daemon_fd, select.POLLIN)
    if poll.poll(_DAEMON_SOON_MS):
        return
    if elsewhere := seen_by(mount.device):
        raise MountFailed(
            f"{mount.path} is unmounted here, but process {elsewhere[0]} has it in another mount namespace, at"
            f" {elsewhere[1]}: its daemon (process {pid}) ends with that one"
        )
    if not poll.poll(_DAEMON_END_MS):
        raise MountFailed(f"{mount.path} is unmounted, but its daemon (process {pid}) does not end")


def _unmount_unless_in_use(mounted: MountedZramfs) -> None:
    """Unmount; MountFailed if it is in use, by somebody who stays.

    `zramfs status` and whoever scrapes metrics have a file of each mount open for a few milliseconds.
    """
    mount = mounted.mount
    end_s = time.monotonic() + _PASSING_USERS_S
    while True:
        try:
            _unmount(mount)
        except MountFailed as error:
            if "busy" not in str(error):
                raise
            user = ask_living(mount, lambda: _known_user(mounted))
            if not user and time.monotonic() < end_s:
                time.sleep(_BETWEEN_TRIES_S)
                continue
            raise MountFailed(f"{mount.path} is busy: {user or _named_users(mount)}") from error
        return


def _unmount(mount: Mount, *, lazily: bool = False) -> None:
    """Unmount; of another's mount the kernel may wait for a daemon that never answers."""
    if mount.owner_uid == os.geteuid():
        unmount(mount, lazily=lazily)
    else:
        ask(mount, partial(unmount_as_root, mount, lazily=lazily), as_owner=False)


def _open_daemon(mount: Mount, pid: int) -> int | None:
    """Return the daemon's pidfd; None if that process cannot be it: a hostile daemon may name any."""
    try:
        daemon_fd = os.pidfd_open(pid)
        is_owners = Path(f"/proc/{pid}").stat().st_uid == mount.owner_uid
    except (OSError, OverflowError):
        return None
    return daemon_fd if is_owners else None


def _named_users(mount: Mount) -> str:
    """Say who has files of it open, where the system tells us."""
    users = name_users(mount.path)
    return f"it is used by {users}" if users else _UNKNOWN_USER


def _known_user(mounted: MountedZramfs) -> str:
    """Say who of ours uses the mount, and what to do about it; nothing if it is somebody else."""
    if mounted.keeper_pid:
        return f"zramfs exec uses it (process {mounted.keeper_pid}); end its command first"
    for name in mounted.device_names():
        for loop_path in loops_of(mounted, name):
            return (
                f"{name} is attached to {loop_path}; unmount or swapoff what is on it, "
                f"then: zramfs loop detach {mounted.mount.path} --device {name}"
            )
    return ""
