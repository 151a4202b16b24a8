from pathlib import Path

import pytest

from zramfs.errors import NotMounted
from zramfs.library.attributes import Attributes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "zram0"
    (folder / "accel").mkdir(parents=True)
    (folder / "disksize").write_text("4096\n")
    (folder / "accel/queue_depth").write_text("256\n")
    return folder


def test_attribute_is_read_without_its_newline(folder: Path) -> None:
    assert Attributes(folder)["accel/queue_depth"] == "256"


@pytest.mark.parametrize("value", ["8192", 8192])
def test_attribute_is_written_as_text(folder: Path, value: str | int) -> None:
    Attributes(folder)["disksize"] = value
    assert (folder / "disksize").read_text() == "8192\n"


@pytest.mark.parametrize("name", ["", "accel", "nothing", "disksize/x", "../zram0/disksize", "/etc/hostname", "a\0b"])
def test_what_is_no_attribute_is_a_key_error(folder: Path, name: str) -> None:
    attributes = Attributes(folder)
    with pytest.raises(KeyError):
        attributes[name]
    with pytest.raises(KeyError):
        attributes[name] = "1"
    assert name not in attributes
    assert attributes.get(name) is None


def test_names_are_all_files_below(folder: Path) -> None:
    assert sorted(Attributes(folder)) == ["accel/queue_depth", "disksize"]
    assert len(Attributes(folder)) == 2


def test_no_attribute_can_be_deleted(folder: Path) -> None:
    with pytest.raises(TypeError, match="disksize: attributes of a device cannot be deleted"):
        del Attributes(folder)["disksize"]


def test_attributes_of_a_mount_that_has_ended_are_not_mounted(tmp_path: Path) -> None:
    attributes = Attributes(tmp_path / "zram0")
    with pytest.raises(NotMounted, match="its disk has ended"):
        attributes["disksize"]
    with pytest.raises(NotMounted):
        list(attributes)
