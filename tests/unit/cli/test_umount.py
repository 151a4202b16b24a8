import os
from pathlib import Path

from zramfs.cli.umount import _open_daemon
from zramfs.mountpoint import Mount


def mount_of(uid: int) -> Mount:
    return Mount(Path("/m"), "fuse.zramfs", "0:1", 1, uid, uid)


def test_process_of_the_owner_is_waited_for() -> None:
    daemon_fd = _open_daemon(mount_of(os.geteuid()), os.getpid())
    assert daemon_fd is not None
    os.close(daemon_fd)


def test_process_that_cannot_be_the_daemon_is_not_waited_for() -> None:
    assert _open_daemon(mount_of(65534), os.getpid()) is None
    for pid in (0, -1, 1 << 22, 1 << 100):
        assert _open_daemon(mount_of(os.geteuid()), pid) is None
