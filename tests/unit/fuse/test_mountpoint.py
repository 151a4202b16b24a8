import os
from pathlib import Path

import pytest

from zramfs.fuse.mountpoint import find_mount, unescape


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


def test_find_mount_tells_type_and_device() -> None:
    mount = find_mount(Path("/proc"))
    assert mount is not None
    assert mount.filesystem_type == "proc"
    assert not mount.is_ours
    device = Path("/proc").stat().st_dev
    assert mount.device == f"{os.major(device)}:{os.minor(device)}"


def test_find_mount_is_none_where_nothing_is_mounted(tmp_path: Path) -> None:
    assert find_mount(tmp_path) is None
