import os
from pathlib import Path

import pytest

from zramfs import mountinfo, unmounting
from zramfs.errors import MountFailed
from zramfs.mountable import prepare_mountpoint
from zramfs.mountpoint import Mount, absolute, find_mount, find_mount_at
from zramfs.unmounting import unmount_as_root


def test_find_mount_tells_type_and_device() -> None:
    mount = find_mount(Path("/proc"))
    assert mount is not None
    assert mount.filesystem_type == "proc"
    assert not mount.is_ours
    device = Path("/proc").stat().st_dev
    assert mount.device == f"{os.major(device)}:{os.minor(device)}"


def test_find_mount_is_none_where_nothing_is_mounted(tmp_path: Path) -> None:
    assert find_mount(tmp_path) is None


def test_owner_of_a_mount_is_known(tmp_path: Path) -> None:
    told = tmp_path / "mountinfo"
    told.write_text(
        "36 25 0:45 / /home/u/m rw,nosuid - fuse.zramfs zramfs rw,user_id=1000,group_id=100,default_permissions\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mountinfo, "_MOUNTINFO", told)
        mount = find_mount_at(Path("/home/u/m"))
    assert mount is not None
    assert mount.is_ours
    assert (mount.owner_uid, mount.owner_gid, mount.identifier) == (1000, 100, 36)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root unmounts for others")
def test_another_mount_in_the_place_of_the_one_meant_stays() -> None:
    found = find_mount(Path("/proc"))
    assert found is not None
    with pytest.raises(MountFailed, match="another mount now"):
        unmount_as_root(found._replace(identifier=0))


def test_link_to_a_mount_point_is_followed_and_a_mount_point_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc")
    assert absolute(tmp_path / "link") == Path("/proc")
    assert absolute(Path("/proc/../proc")) == Path("/proc")


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="the kernel has no FUSE here")
def test_automount_point_is_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seen").touch()
    with pytest.raises(MountFailed, match="is not empty"):
        prepare_mountpoint(tmp_path)
    autofs = mountinfo.read_mounts()[0]._replace(point=tmp_path, kind="autofs")
    monkeypatch.setattr("zramfs.mountpoint.read_mounts", lambda: [autofs])
    prepare_mountpoint(tmp_path)


@pytest.mark.parametrize("has_fusectl", [True, False])
def test_connection_is_ended_before_its_mount_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_fusectl: bool
) -> None:
    happened: list[str] = []
    mount = Mount(Path("/nowhere"), "fuse.zramfs", "0:99")
    abort = tmp_path / "99/abort"
    if has_fusectl:
        abort.parent.mkdir()
    monkeypatch.setattr(unmounting, "_CONNECTIONS", tmp_path)
    monkeypatch.setattr(unmounting, "is_still_there", lambda _mount: True)
    monkeypatch.setattr(unmounting, "unmount_by_force", lambda path: happened.append(f"force {path}"))
    monkeypatch.setattr(unmounting, "unmount", lambda mount, *, lazily: happened.append(f"{mount.path} {lazily=}"))
    unmounting.take_away(mount)
    assert happened == ([] if has_fusectl else ["force /nowhere"]) + ["/nowhere lazily=True"]
    assert not has_fusectl or abort.read_text() == "1"


def test_connection_of_a_mount_that_has_gone_is_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "99").mkdir()
    monkeypatch.setattr(unmounting, "_CONNECTIONS", tmp_path)
    monkeypatch.setattr(unmounting, "is_still_there", lambda _mount: False)
    unmounting.take_away(Mount(Path("/nowhere"), "fuse.zramfs", "0:99"))
    assert not list((tmp_path / "99").iterdir())
