import os
from pathlib import Path

import pytest

from zramfs.mountinfo import covering, mount_id_of, parse_mounts, read_mounts, unescape

MOUNTINFO = b"""\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 22 0:26 / /mnt/a\\040b rw,nosuid shared:7 master:1 - fuse.zramfs zramfs rw,user_id=1000,group_id=100
31 22 0:27 /sub /mnt rw - tmpfs none rw
32 22 0:28 / /mnt/a\\040b rw - tmpfs none rw
"""


@pytest.mark.parametrize(
    ("field", "path"),
    [
        (b"/mnt", "/mnt"),
        (b"/mnt/a\\040b", "/mnt/a b"),
        (b"/mnt/a\\134b", "/mnt/a\\b"),
        ("/mnt/жук".encode(), "/mnt/жук"),
        (b"/mnt/\xff", os.fsdecode(b"/mnt/\xff")),
    ],
)
def test_unescape_takes_any_path(field: bytes, path: str) -> None:
    assert unescape(field) == Path(path)


def test_mountinfo_is_read_with_and_without_optional_fields() -> None:
    root, zramfs, tmpfs, _ = parse_mounts(MOUNTINFO)
    assert (root.mount_id, root.device, root.kind, root.source) == (22, "8:1", "ext4", "/dev/sda1")
    assert (zramfs.point, zramfs.kind, zramfs.option("user_id")) == (Path("/mnt/a b"), "fuse.zramfs", "1000")
    assert (tmpfs.source, tmpfs.option("user_id")) == ("none", None)


@pytest.mark.parametrize(
    ("path", "mount_id"), [("/etc/x", 22), ("/mnt", 31), ("/mnt/a", 31), ("/mnt/a b/zram0", 32), ("/mnt/a bc", 31)]
)
def test_covering_finds_the_innermost_and_topmost_mount(path: str, mount_id: int) -> None:
    mount = covering(parse_mounts(MOUNTINFO), Path(path))
    assert mount is not None
    assert mount.mount_id == mount_id


def test_an_open_file_tells_its_mount() -> None:
    fd = os.open("/proc/version", os.O_RDONLY)
    try:
        (mount,) = (mount for mount in read_mounts() if mount.mount_id == mount_id_of(fd))
    finally:
        os.close(fd)
    assert mount.point == Path("/proc")
