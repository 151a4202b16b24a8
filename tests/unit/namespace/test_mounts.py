"""Mounts of a namespace and of the one outside, in namespaces that are the test's own."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from zramfs import kernel
from zramfs.mountinfo import parse_mounts, read_mounts
from zramfs.namespace import mounts
from zramfs.namespace.mounts import OutsideMounts, outlived, unmount_exactly
from zramfs.supervise import errand

TEXT = b"""\
30 1 0:40 / /m rw - fuse.zramfs zramfs rw
31 1 0:41 / /command/s rw - fuse.zramfs zramfs rw
32 1 0:42 / /left rw - fuse.zramfs zramfs rw
33 1 0:42 / /left rw - fuse.zramfs zramfs rw
34 1 0:43 / /tmp rw - tmpfs tmpfs rw
"""


def test_only_a_zramfs_that_has_been_outside_is_outlived() -> None:
    found = outlived(parse_mounts(TEXT), {"0:42", "0:43", "0:99"})
    assert [mount.mount_id for mount in found] == [33, 32]


def in_a_namespace(work: Callable[[], object]) -> object:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts")

    def enter_and_work() -> object:
        kernel.enter_new_mount_namespace()
        return work()

    return errand.do(enter_and_work, within_s=30)


def points() -> set[Path]:
    return {mount.point for mount in read_mounts()}


def test_mount_of_the_commands_stays_and_one_that_went_outside_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tmpfs stands for zramfs. The namespace within has a copy of `left`, and `own`, which never was outside."""
    left, own, other = (tmp_path / name for name in ("left", "own", "other"))
    for folder in (left, own, other):
        folder.mkdir()
    monkeypatch.setattr(mounts, "FILESYSTEM_TYPE", "tmpfs")

    def work() -> list[bool]:
        kernel.mount("tmpfs", left)
        outside_fd = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        outside = OutsideMounts()
        kernel.enter_new_mount_namespace()
        inside_fd = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        kernel.mount("tmpfs", own)
        kernel.enter_mount_namespace(outside_fd)
        kernel.mount("tmpfs", other)  # an event that concerns nobody
        kernel.enter_mount_namespace(inside_fd)
        outside.follow(spared="")
        seen = [left in points(), own in points()]
        kernel.enter_mount_namespace(outside_fd)
        kernel.unmount_lazily(left)
        kernel.enter_mount_namespace(inside_fd)
        outside.follow(spared="")
        return [*seen, left in points(), own in points()]

    assert in_a_namespace(work) == [True, True, False, True]


def test_mount_below_another_one_is_left_alone(tmp_path: Path) -> None:
    def work() -> list[int]:
        for _ in range(2):
            kernel.mount("tmpfs", tmp_path)
        both = [mount for mount in read_mounts() if mount.point == tmp_path]
        unmount_exactly(both[0])
        counts = [sum(mount.point == tmp_path for mount in read_mounts())]
        unmount_exactly(both[1])
        return [*counts, sum(mount.point == tmp_path for mount in read_mounts())]

    assert in_a_namespace(work) == [2, 1]


def test_guarded_folder_shows_nothing_that_is_mounted_below_it(tmp_path: Path) -> None:
    """Another mount of the same owner, with links that would be followed: one made before, and one made after."""
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        folder.mkdir()

    def mount_within(name: str) -> None:
        kernel.mount("tmpfs", source / "folder" / name)
        (source / "folder" / name / "link").symlink_to("/etc")

    def work() -> list[str]:
        kernel.mount("tmpfs", source)
        kernel._check(kernel._libc.mount(None, os.fsencode(source), None, 1 << 20, None), source)  # MS_SHARED
        for name in ("before", "after"):
            (source / "folder" / name).mkdir(parents=True)
        (source / "folder/link").symlink_to("/etc")
        mount_within("before")
        kernel.bind_guarded(source / "folder", target)
        mount_within("after")
        listed = [path.name for name in ("before", "after") for path in (target / name).iterdir()]
        with pytest.raises(OSError, match="link"):
            list((target / "link").iterdir())
        return listed

    assert in_a_namespace(work) == []
