"""Mount points: the mount at one, and whether one can be made there. Every problem is one line with its remedy."""

import errno
import os
import shlex
import shutil
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zramfs.errors import MountDoesNotAnswer, MountFailed, MountIsDead, NotMounted
from zramfs.kernel import unmount_by_force, unmount_nothing_linked
from zramfs.mountinfo import FILESYSTEM_TYPE, MountedFilesystem, mount_id_of, read_mounts
from zramfs.patience import ask_patiently

_FUSE_DEVICE: Final = Path("/dev/fuse")
_CONNECTIONS: Final = Path("/sys/fs/fuse/connections")


@dataclass(frozen=True, slots=True)
class Mount:
    """The mount at a place. `device` is its file system's major:minor, which no other living one has.

    The owner is who mounted it, as the kernel noted it; 0 where the file system has none.
    """

    path: Path
    filesystem_type: str
    device: str
    identifier: int = 0
    owner_uid: int = 0
    owner_gid: int = 0

    @property
    def device_number(self) -> int:
        """The st_dev of its files."""
        major, _, minor = self.device.partition(":")
        return os.makedev(int(major), int(minor))

    @property
    def is_ours(self) -> bool:
        """Whether it is a zramfs."""
        return self.filesystem_type == FILESYSTEM_TYPE


def find_mount(path: Path) -> Mount | None:
    """Return what is mounted at exactly this path, the topmost if several are; symbolic links are followed."""
    return find_mount_at(absolute(path))


def find_mount_at(wanted: Path) -> Mount | None:
    """Like `find_mount`, of a resolved path, which is not looked at: the daemon must not wait for its own mount."""
    found = None
    for mount in read_mounts():
        if mount.point == wanted:
            found = _mount_of(mount)
    return found


def is_still_there(mount: Mount) -> bool:
    """Whether the mount is still the topmost one at its place: somebody else's must not be unmounted for it."""
    return find_mount_at(mount.path) == mount


def _mount_of(mount: MountedFilesystem) -> Mount:
    uid, gid = int(mount.option("user_id") or 0), int(mount.option("group_id") or 0)
    return Mount(mount.point, mount.kind, mount.device, mount.mount_id, uid, gid)


def find_all_ours() -> list[Mount]:
    """Return every zramfs mounted here, living or not, each once and by its first place; none is asked."""
    topmost = {mount.point: mount for mount in read_mounts()}
    ours = [each for each in topmost.values() if each.kind == FILESYSTEM_TYPE and each.root == Path("/")]
    return [_mount_of(mount) for mount in {each.device: each for each in reversed(ours)}.values()][::-1]


def find_ours(path: Path) -> Mount:
    """Return the zramfs mounted at `path`, living or not, without asking it; NotMounted if there is none."""
    mount = find_mount(path)
    if mount is None or not mount.is_ours:
        raise NotMounted(f"no zramfs is mounted at {path}")
    return mount


def require_living(mount: Mount) -> None:
    """Raise MountIsDead if the daemon of a zramfs has ended. The daemon is asked, which may hang."""
    if _is_dead(mount.path):
        command = shlex.join(["zramfs", "umount", str(mount.path)])
        raise MountIsDead(f"the zramfs at {mount.path} is dead: its daemon ended; clean up with: {command}")


def no_answer(path: Path) -> MountDoesNotAnswer:
    """Say that the daemon of the zramfs at `path` is hung, and what to do."""
    command = shlex.join(["zramfs", "umount", "--lazy", str(path)])
    return MountDoesNotAnswer(f"the daemon of {path} does not answer: end it, or take its mount away with: {command}")


def prepare_mountpoint(path: Path) -> None:
    """Check that a zramfs can be mounted at `path`; take away a dead one, of a daemon that was killed.

    What is mounted there is asked first, for a bounded time: nothing that follows hangs if it has answered. An
    automount point (autofs) is not looked into: whoever does waits for the very mount that is to be made.
    """
    waiting = find_mount(path)
    if waiting is not None and waiting.filesystem_type == "autofs":
        require_fuse()
        return
    take_away_if_dead(path)
    if not path.exists():
        raise MountFailed(f"{path} does not exist: create it with: mkdir -p {path}")
    if not path.is_dir():
        raise MountFailed(f"{path} is not a directory")
    mount = find_mount(path)
    if mount is not None and mount.is_ours:
        raise MountFailed(f"a zramfs is mounted at {path} already: unmount it with: zramfs umount {path}")
    try:
        is_empty = not any(path.iterdir())
    except PermissionError as error:
        raise MountFailed(f"no permission to read {path}") from error
    if not is_empty:
        raise MountFailed(f"{path} is not empty: a mount would hide what is in it")
    require_fuse()


def take_away_if_dead(path: Path) -> None:
    """Unmount a zramfs whose daemon was killed; MountFailed if that cannot be, MountDoesNotAnswer if it is hung.

    `auto_unmount` does so as well (`session._fusermount_told_last`), unless its fusermount3 has been killed with the
    daemon.
    """
    if _found_dead(path):
        _clean_up_dead_mount(path)


def unmount(mount: Mount, *, lazily: bool = False) -> None:
    """Unmount with fusermount3; MountFailed when the mount is busy or not ours to unmount.

    `lazily` takes it away from its place at once; its users keep what they have open.
    """
    command = ["fusermount3", "-u", *(["-z"] if lazily else []), str(mount.path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = result.stderr.strip().splitlines()
        raise MountFailed(reason[-1] if reason else f"fusermount3 could not unmount {mount.path}")


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


def _clean_up_command(path: Path) -> str:
    return shlex.join(["fusermount3", "-u", "-z", str(absolute(path))])


def _found_dead(path: Path) -> bool:
    """Whether a daemon has ended; MountDoesNotAnswer if that cannot be told in time."""
    try:
        return ask_patiently(lambda: b"dead" if _is_dead(path) else b"") == b"dead"
    except TimeoutError:
        mount = find_mount(path)
        if mount is not None and mount.is_ours:
            raise no_answer(mount.path) from None
        raise MountDoesNotAnswer(f"the file system at {path} does not answer") from None


def _is_dead(path: Path) -> bool:
    """Ask the file system itself: the kernel answers stat(2) from what it remembers, even of a dead mount."""
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def _clean_up_dead_mount(path: Path) -> None:
    mount = find_mount(path)
    if mount is None or not mount.is_ours:
        raise MountFailed(f"{path} holds a dead mount of another kind: clean up with: {_clean_up_command(path)}")
    try:
        unmount(mount, lazily=True)
    except MountFailed as error:
        raise MountFailed(f"{path} holds a dead zramfs: clean up with: {_clean_up_command(path)}") from error


def require_fuse() -> None:
    """Check that this system can mount; MountFailed says what it lacks."""
    if not _FUSE_DEVICE.exists():
        raise MountFailed(f"{_FUSE_DEVICE} is missing: load the kernel's module with: modprobe fuse")
    if not os.access(_FUSE_DEVICE, os.R_OK | os.W_OK):
        raise MountFailed(f"no permission to use {_FUSE_DEVICE}: run as root, or join the group that may")
    if shutil.which("fusermount3") is None:
        raise MountFailed("fusermount3 is missing: install the package fuse3")


def absolute(path: Path) -> Path:
    """Resolve a path; of a mount point the parent only: a dead one cannot be looked at, a hung one does not answer."""
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps '..'
    place = path.parent.resolve() / path.name
    if find_mount_at(place) is not None:
        return place
    try:
        return path.resolve()
    except OSError:
        return place
