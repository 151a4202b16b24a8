"""Takes mounts away: ours with fusermount3, another user's by a system call of root's, and dead ones. Level 0."""

import os
import shlex
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from zramfs.errors import MountDoesNotAnswer, MountFailed
from zramfs.kernel import unmount_by_force, unmount_nothing_linked
from zramfs.mountinfo import mount_id_of
from zramfs.mountpoint import Mount, absolute, find_mount, is_dead, is_still_there, no_answer
from zramfs.patience import ask_patiently

_CONNECTIONS: Final = Path("/sys/fs/fuse/connections")


def unmount(mount: Mount, *, lazily: bool = False) -> None:
    """Unmount with fusermount3; MountFailed when the mount is busy or not ours to unmount.

    `lazily` takes it away from its place at once; its users keep what they have open.
    """
    command = ["fusermount3", "-u", *(["-z"] if lazily else []), str(mount.path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = result.stderr.strip().splitlines()
        raise MountFailed(reason[-1] if reason else f"fusermount3 could not unmount {mount.path}")


def unmount_as_root(mount: Mount, *, lazily: bool = False) -> None:
    """Unmount somebody else's mount; MountFailed when it is busy, or another one now.

    Its place may be in a folder of its owner, who could put a link to another mount there meanwhile. An open
    descriptor therefore keeps the folder, in which the kernel lets nobody rename or remove a mount point.
    """
    with ExitStack() as opened:
        folder_fd = os.open(mount.path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, folder_fd)
        if _mount_at(mount.path.name, folder_fd) != mount.identifier:
            raise MountFailed(f"{mount.path} is another mount now")
        try:
            unmount_nothing_linked(Path(f"/proc/self/fd/{folder_fd}/{mount.path.name}"), lazily=lazily)
        except OSError as error:
            raise MountFailed(f"cannot unmount {mount.path}: {str(error.strerror).lower()}") from error


def _mount_at(name: str, folder_fd: int) -> int:
    """Return the identifier of the mount that has a name, without asking its file system."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
    try:
        return mount_id_of(fd)
    finally:
        os.close(fd)


def take_away(mount: Mount) -> None:
    """End the connection of our own mount, and unmount it: its users get ECONNABORTED, and ENOTCONN from then on.

    By fusectl, where it is mounted, as the owner of a mount may; else as by `umount -f`, which only root may. Where
    neither can be, and where the mount has gone from its place, the end of the daemon does so.
    """
    if not is_still_there(mount):
        return
    try:
        (_CONNECTIONS / str(os.minor(mount.device_number)) / "abort").write_text("1")
    except OSError:
        with suppress(OSError):
            unmount_by_force(mount.path)
    if is_still_there(mount):  # libfuse does not unmount what has no connection
        with suppress(MountFailed):
            unmount(mount, lazily=True)


def take_away_if_dead(path: Path) -> None:
    """Unmount a zramfs whose daemon was killed; MountFailed if that cannot be, MountDoesNotAnswer if it is hung.

    `auto_unmount` does so as well (`session._fusermount_told_last`), unless its fusermount3 has been killed with the
    daemon.
    """
    if _found_dead(path):
        _clean_up_dead_mount(path)


def _found_dead(path: Path) -> bool:
    """Whether a daemon has ended; MountDoesNotAnswer if that cannot be told in time."""
    try:
        return ask_patiently(lambda: b"dead" if is_dead(path) else b"") == b"dead"
    except TimeoutError:
        mount = find_mount(path)
        if mount is not None and mount.is_ours:
            raise no_answer(mount.path) from None
        raise MountDoesNotAnswer(f"the file system at {path} does not answer") from None


def _clean_up_dead_mount(path: Path) -> None:
    mount = find_mount(path)
    if mount is None or not mount.is_ours:
        raise MountFailed(f"{path} holds a dead mount of another kind: clean up with: {_clean_up_command(path)}")
    try:
        unmount(mount, lazily=True)
    except MountFailed as error:
        raise MountFailed(f"{path} holds a dead zramfs: clean up with: {_clean_up_command(path)}") from error


def _clean_up_command(path: Path) -> str:
    return shlex.join(["fusermount3", "-u", "-z", str(absolute(path))])
