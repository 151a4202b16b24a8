"""What is mounted at a mount point, and whether it lives. Every problem is one line with its remedy. Level 0."""

import errno
import os
from pathlib import Path
from typing import NamedTuple

from zramfs.errors import MountDoesNotAnswer, MountIsDead, NotMounted
from zramfs.mountinfo import FILESYSTEM_TYPE, MountedFilesystem, read_mounts


class Mount(NamedTuple):
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
    if is_dead(mount.path):
        command = _command_line("zramfs", "umount", str(mount.path))
        raise MountIsDead(f"the zramfs at {mount.path} is dead: its daemon ended; clean up with: {command}")


def no_answer(path: Path) -> MountDoesNotAnswer:
    """Say that the daemon of the zramfs at `path` is hung, and what to do."""
    command = _command_line("zramfs", "umount", "--lazy", str(path))
    return MountDoesNotAnswer(f"the daemon of {path} does not answer: end it, or take its mount away with: {command}")


def _command_line(*words: str) -> str:
    from shlex import join  # noqa: PLC0415 - only what goes wrong needs it

    return join(words)


def is_dead(path: Path) -> bool:
    """Ask a file system, which may hang. By statvfs: the kernel answers stat(2) from memory even for a dead mount."""
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


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
