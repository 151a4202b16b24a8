import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from zramfs.namespace.union import Union

OWNER = (os.getuid(), os.getgid())


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    folder = tmp_path / "lower"
    folder.mkdir()
    (folder / "file").write_text("lower")
    (folder / "link").symlink_to("file")
    (folder / "zram3").write_text("the kernel's")
    (folder / "253:3").symlink_to("../devices/zram3")
    os.mkfifo(folder / "pipe", 0o640)
    (folder / "deep").mkdir()
    (folder / "deep/file").write_text("deep")
    return folder


@pytest.fixture
def union(tmp_path: Path, lower: Path) -> Iterator[Union]:
    (tmp_path / "upper").mkdir()
    fds = [os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in (tmp_path / "upper", lower)]
    yield Union(*fds)
    for fd in fds:
        os.close(fd)


def names(union: Union, path: str = ".") -> list[str]:
    return [name for name, _ in union.names(path)]


def test_shows_what_is_below_but_any_zram_and_links_to_it(union: Union) -> None:
    assert union.names(".") == [
        ("deep", stat.S_IFDIR),
        ("file", stat.S_IFREG),
        ("link", stat.S_IFLNK),
        ("pipe", stat.S_IFIFO),
    ]
    for hidden in ("zram3", "253:3"):
        with pytest.raises(FileNotFoundError):
            union.find(hidden)


def test_what_comes_and_goes_below_does_so_at_once(union: Union, lower: Path) -> None:
    with pytest.raises(FileNotFoundError):
        union.find("new")
    (lower / "new").write_text("")
    assert stat.S_ISREG(union.find("new").status.st_mode)
    (lower / "new").unlink()
    assert "new" not in names(union)


def test_ours_stand_before_what_is_below(union: Union, lower: Path) -> None:
    union.make_link("zram3", "elsewhere", OWNER)
    union.make_link("link", "elsewhere", OWNER)
    assert {"zram3", "link"} < set(names(union))
    assert os.readlink("link", dir_fd=union.find("link").folder) == "elsewhere"
    assert (lower / "link").readlink() == Path("file")
    union.restore("link")
    assert os.readlink("link", dir_fd=union.find("link").folder) == "file"


def test_removed_name_is_hidden_until_it_is_restored_or_made_again(union: Union, lower: Path) -> None:
    union.remove("file")
    assert "file" not in names(union)
    assert (lower / "file").exists()
    with pytest.raises(FileNotFoundError):
        union.remove("file")
    union.restore("file")
    assert "file" in names(union)
    union.remove("file")
    union.make("file", stat.S_IFREG | 0o640, 0, OWNER)
    assert union.find("file").status.st_size == 0


def test_hiding_what_is_not_there_is_nothing(union: Union) -> None:
    union.hide("nothing")
    assert union.names("deep") == [("file", stat.S_IFREG)]


def test_folder_has_the_names_of_both(union: Union) -> None:
    union.make("deep/more", stat.S_IFIFO | 0o600, 0, OWNER)
    assert names(union, "deep") == ["file", "more"]
    with pytest.raises(OSError, match="not empty"):
        union.remove("deep")
    union.remove("deep/file")
    union.remove("deep/more")
    union.remove("deep")
    assert "deep" not in names(union)


def test_rename_takes_a_copy_of_what_is_below(union: Union, lower: Path) -> None:
    union.rename("pipe", "deep/pipe")
    assert "pipe" not in names(union)
    assert union.find("deep/pipe").status.st_mode == stat.S_IFIFO | 0o640
    assert names(union, "deep") == ["file", "pipe"]
    assert (lower / "pipe").exists()


@pytest.mark.parametrize("name", ["deep", "file"])
def test_rename_of_what_cannot_be_copied_is_refused(union: Union, name: str) -> None:
    with pytest.raises(OSError, match="cross-device") as refused:
        union.rename(name, "new")
    assert refused.value.errno == errno.EXDEV


def test_mode_is_the_one_asked_for_whatever_the_umask(union: Union) -> None:
    before = os.umask(0o077)
    try:
        union.make("node", stat.S_IFIFO | 0o666, 0, OWNER)
        union.make_folder("folder", 0o777, OWNER)
    finally:
        os.umask(before)
    assert stat.S_IMODE(union.find("node").status.st_mode) == 0o666
    assert stat.S_IMODE(union.find("folder").status.st_mode) == 0o777
