import os
from pathlib import Path

import pytest

from zramfs.mountinfo import MountedFilesystem
from zramfs.walk import walked


def entered(path: Path) -> list[Path]:
    points: list[Path] = []
    with walked(str(path), lambda mount: points.append(mount.point)):
        return points


@pytest.mark.parametrize(
    "name", ["file", "link", "absolute", "chain", "folder/../file", ".//file", "up/file", "folder/up/up/file"]
)
def test_a_walk_ends_where_open_does(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("here")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "absolute").symlink_to(tmp_path / "file")
    (tmp_path / "chain").symlink_to("folder/../absolute")
    (tmp_path / "up").symlink_to("folder/..")
    (tmp_path / "folder/up").symlink_to("..")
    expected = (tmp_path / name).stat()
    with walked(f"{tmp_path}/{name}", lambda _: None) as fd:
        assert os.path.samestat(os.fstat(fd), expected)


@pytest.mark.parametrize("name", ["missing", "file/below", "loop", "dangling", "missing/file"])
def test_a_walk_fails_as_open_does(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("missing")
    with pytest.raises(OSError, match="Errno") as expected:
        (tmp_path / name).read_text()
    with pytest.raises(OSError, match="Errno") as failed, walked(f"{tmp_path}/{name}", lambda _: None):
        pass
    assert failed.value.errno == expected.value.errno


def test_each_file_system_on_the_way_is_entered() -> None:
    assert entered(Path("/proc/self/status")) == [Path("/"), Path("/proc")]
    assert entered(Path("/proc/../proc/self/../version")) == [Path("/"), Path("/proc"), Path("/"), Path("/proc")]


def test_a_refused_file_system_is_not_looked_at_and_nothing_stays_open() -> None:
    def refuse_proc(mount: MountedFilesystem) -> None:
        if mount.kind == "proc":
            raise PermissionError

    before = set(Path("/proc/self/fd").iterdir())
    for path in ("/proc", "/proc/self/no-such-file"):
        with pytest.raises(PermissionError), walked(path, refuse_proc):
            pass
    assert set(Path("/proc/self/fd").iterdir()) == before
