import os
from pathlib import Path
from typing import cast

import pytest

from zramfs.cli import trust
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.trust import NotTrusted, require_daemon, require_trusted_owner
from zramfs.mountpoint import Mount
from zramfs.namespace.protocol import Peer


class FakeMounted:
    """A mount of a user, whose daemon says that it is process 50."""

    path = Path("/mnt")
    pid = 50

    def __init__(self, owner: int) -> None:
        self.mount = Mount(Path("/mnt"), "fuse.zramfs", "0:39", owner_uid=owner)


def mounted_by(owner: int) -> MountedZramfs:
    return cast("MountedZramfs", FakeMounted(owner))


@pytest.mark.parametrize(
    ("user", "sudo_user", "owner"),
    [(0, "", 0), (0, "1000", 0), (0, "1000", 1000), (1000, "", 1000), (1000, "", 0), (0, "x", 0)],
)
def test_roots_mounts_and_the_callers_own_are_trusted(
    monkeypatch: pytest.MonkeyPatch, user: int, sudo_user: str, owner: int
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: user)
    monkeypatch.setenv("SUDO_UID", sudo_user)
    assert require_trusted_owner(mounted_by(owner)) == owner


@pytest.mark.parametrize(
    ("user", "sudo_user", "owner"),
    [(0, "", 1000), (0, "1001", 1000), (1001, "1000", 1000), (0, "1000x", 1000), (0, "9" * 5000, 1000)],
)
def test_other_users_mounts_are_not(monkeypatch: pytest.MonkeyPatch, user: int, sudo_user: str, owner: int) -> None:
    monkeypatch.setattr(os, "getuid", lambda: user)
    monkeypatch.setenv("SUDO_UID", sudo_user)
    with pytest.raises(NotTrusted, match=f"is of user {owner}"):
        require_trusted_owner(mounted_by(owner))


def fdinfo(proc: Path, pid: int, *contents: str) -> None:
    folder = proc / str(pid) / "fdinfo"
    folder.mkdir(parents=True)
    for number, text in enumerate(contents):
        (folder / str(number)).write_text(text)


PLAIN = "pos:\t0\nflags:\t02100002\nmnt_id:\t24\n"


def test_the_daemon_is_who_has_the_connection_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trust, "_PROC", tmp_path)
    fdinfo(tmp_path, 60, PLAIN, PLAIN + "fuse_connection:\t39\n")
    fdinfo(tmp_path, 50, PLAIN, PLAIN + "fuse_connection:\t40\n")
    require_daemon(Peer(60, 1000), mounted_by(1000))
    for pid, uid in ((60, 1001), (60, 0), (50, 1000)):
        with pytest.raises(NotTrusted, match=f"process {pid} of user {uid} answers for /mnt"):
            require_daemon(Peer(pid, uid), mounted_by(1000))


def test_where_the_kernel_does_not_tell_it_is_who_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trust, "_PROC", tmp_path)
    fdinfo(tmp_path, 50, PLAIN)
    require_daemon(Peer(50, 0), mounted_by(0))
    for pid, uid in ((51, 0), (50, 1000)):
        with pytest.raises(NotTrusted):
            require_daemon(Peer(pid, uid), mounted_by(0))
