import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zramfs.beneath import open_beneath, open_folder_beneath


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "victim").write_text("secret")
    folder = tmp_path / "mnt"
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/file").write_text("meant")
    (folder / "link").symlink_to("a/b/file")
    (folder / "out").symlink_to(tmp_path / "victim")
    (folder / "up").symlink_to("..")
    (folder / "into").symlink_to("a")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.fixture
def root(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_PATH)
    yield fd
    os.close(fd)


def test_a_file_below_is_opened(root: int) -> None:
    fd = open_beneath(root, "a/b/file", os.O_RDONLY)
    try:
        assert os.read(fd, 10) == b"meant"
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("link", errno.ELOOP),
        ("out", errno.ELOOP),
        ("up/victim", errno.ELOOP),
        ("into/b/file", errno.ELOOP),
        ("../victim", errno.EINVAL),
        ("a/../../victim", errno.EINVAL),
        ("/etc/passwd", errno.EINVAL),
        ("", errno.EINVAL),
        (".", errno.EINVAL),
        ("a", errno.EINVAL),
        ("pipe", errno.EINVAL),
        ("missing", errno.ENOENT),
        ("a/b/file/x", errno.ENOTDIR),
    ],
)
def test_nothing_else_is(root: int, folder: Path, path: str, number: int) -> None:
    with pytest.raises(OSError, match="Errno") as failed:
        open_beneath(root, path, os.O_WRONLY | os.O_TRUNC)
    assert failed.value.errno == number
    assert (folder.parent / "victim").read_text() == "secret"
    assert (folder / "a/b/file").read_text() == "meant"


def test_another_file_system_below_is_not_entered() -> None:
    root = os.open("/", os.O_PATH)
    try:
        with pytest.raises(OSError, match="cross-device") as failed:
            open_beneath(root, "proc/version", os.O_RDONLY)
    finally:
        os.close(root)
    assert failed.value.errno == errno.EXDEV


def test_folders_likewise_and_nothing_stays_open(root: int) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    fd = open_folder_beneath(root, "a/b")
    assert os.listdir(fd) == ["file"]  # noqa: PTH208
    os.close(fd)
    for path in ("into", "up", "link", "a/b/file"):
        with pytest.raises(OSError, match="Errno"):
            open_folder_beneath(root, path)
    assert set(Path("/proc/self/fd").iterdir()) == before
