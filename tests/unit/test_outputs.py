import errno
import os
from pathlib import Path

import pytest

from zramfs.outputs import open_output


def write(path: Path, text: str, flags: int = 0) -> None:
    with os.fdopen(open_output(path, flags), "w") as file:
        file.write(text)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("kept")
    return path


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o1777)
    return path


def test_a_file_is_made_and_appended_to_or_replaced(shared: Path, tmp_path: Path) -> None:
    for path in (shared / "log", tmp_path / "log"):
        write(path, "one ")
        write(path, "two", os.O_APPEND)
        assert path.read_text() == "one two"
        write(path, "new", os.O_TRUNC)
        assert path.read_text() == "new"


def test_a_link_is_followed_in_a_folder_of_ours(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "log").symlink_to(victim)
    write(tmp_path / "log", "new", os.O_TRUNC)
    assert victim.read_text() == "new"


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "pipe", "another's"])
def test_what_others_may_have_laid_into_a_shared_folder_is_refused(shared: Path, victim: Path, kind: str) -> None:
    log = shared / "log"
    if kind == "link":
        log.symlink_to(victim)
    elif kind == "dangling":
        log.symlink_to(shared.parent / "made")
    elif kind == "hard link":
        log.hardlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(log)
    else:
        if os.geteuid():
            pytest.skip("only root can make a file of another user")
        log.write_text("theirs")
        os.chown(log, 65534, 65534)
    for flags in (os.O_TRUNC, os.O_APPEND):
        with pytest.raises(OSError, match="others may write") as refused:
            open_output(log, flags)
        assert refused.value.errno == errno.EACCES
    assert victim.read_text() == "kept"
    assert not (shared.parent / "made").exists()


def test_errors_of_the_folder_are_the_systems(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_output(tmp_path / "missing/log")
    with pytest.raises(IsADirectoryError):
        open_output(tmp_path)


@pytest.mark.parametrize(("mode", "owner"), [(0o770, 0), (0o755, 65534)])
def test_a_link_is_not_followed_in_a_folder_of_somebody_else(
    tmp_path: Path, victim: Path, mode: int, owner: int
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "log").symlink_to(victim)
    folder.chmod(mode)
    if owner:
        if os.geteuid():
            pytest.skip("only root can make a folder of another user")
        os.chown(folder, owner, owner)
    with pytest.raises(OSError, match="others may write"):
        open_output(folder / "log", os.O_TRUNC)
    assert victim.read_text() == "kept"
