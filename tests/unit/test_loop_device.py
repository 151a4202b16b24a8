import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zramfs import loop_device, patience
from zramfs.loop_device import LoopDevices
from zramfs.loop_names import name_beneath, noted_name

MOUNT = Path("/run/z")
LONG = Path("/run/" + "a-folder-with-a-long-name/" * 3 + "z")


def noted(path: Path) -> bytes:
    """As the kernel hands lo_file_name out."""
    return noted_name(str(path)).ljust(64, b"\0")


def test_device_of_a_mount_that_is_there_has_its_path() -> None:
    assert name_beneath(MOUNT, b"/run/z/zram1", b"anything") == "zram1"
    assert name_beneath(MOUNT, b"/run/z/zram1 (deleted)", b"") == "zram1"


@pytest.mark.parametrize("mountpoint", [MOUNT, LONG])
def test_device_of_a_mount_that_is_gone_has_the_noted_name(mountpoint: Path) -> None:
    assert name_beneath(mountpoint, b"/zram1", noted(mountpoint / "zram1")) == "zram1"
    assert name_beneath(mountpoint, b"/zram1 (deleted)", noted(mountpoint / "zram1")) == "zram1"


@pytest.mark.parametrize(
    ("shown", "path"),
    [
        (b"/run/z/zram", "/run/z/zram"),
        (b"/run/z/zram0.img", "/run/z/zram0.img"),
        (b"/run/z/zram007", "/run/z/zram007"),  # no device is called that
        (b"/run/z/deeper/zram0", "/run/z/deeper/zram0"),
        (b"/run/zz/zram0", "/run/zz/zram0"),
        (b"/run/zz/zram0", "/run/z/zram0"),  # the mount was moved
        (b"/zram0", "/zram0"),
        (b"/zram0", "/run/zz/zram0"),
        (b"/zram0", "/run/z/zram1"),
        (b"/file", "/run/z/zram0"),
        (b"", "/run/z/zram0"),
    ],
)
def test_device_of_anything_else_is_left_alone(shown: bytes, path: str) -> None:
    assert name_beneath(MOUNT, shown, noted(Path(path))) == ""


def test_long_names_that_begin_alike_are_told_apart() -> None:
    names = {noted_name(str(LONG.with_name(f"z{number}") / "zram0")) for number in range(100)}
    assert len(names) == 100
    assert all(len(name) == 63 for name in names)
    assert name_beneath(LONG, b"/zram0", noted(LONG.with_name("y") / "zram0")) == ""


@pytest.fixture
def bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bytes], None]:
    """Have sysfs show a loop device over a file."""
    monkeypatch.setattr(loop_device, "_BLOCK_DEVICES", tmp_path)

    def bind(number: int, shown: bytes) -> None:
        folder = tmp_path / f"loop{number}/loop"
        folder.mkdir(parents=True)
        (folder / "backing_file").write_bytes(shown + b"\n")

    return bind


def test_file_system_of_another_file_is_not_asked(
    bound: Callable[[int, bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(LoopDevices, "_noted_name", lambda _, number: asked.append(number) or b"")
    for number, shown in enumerate([b"/image", b"/zram01", b"/zram0", b"/run/z/zram1"]):
        bound(number, shown)
    assert LoopDevices().numbers_named_beneath(MOUNT) == [3]
    assert asked == [2]


def test_file_system_that_hangs_is_not_waited_for(
    bound: Callable[[int, bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ANSWER_S", 0.1)
    monkeypatch.setattr(LoopDevices, "_read_note", lambda *_: time.sleep(60))
    bound(0, b"/zram0")
    assert LoopDevices().numbers_named_beneath(MOUNT) == []


def test_name_that_fits_is_noted_as_it_is() -> None:
    path = "/" + "x" * 62
    assert noted_name(path) == path.encode()


def test_only_loop_devices_over_files_named_as_devices_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, file in enumerate(["/nfs/image", "/run/z/zram1", "/run/z/zram2 (deleted)", "/run/z/zram2x", "/"]):
        folder = tmp_path / f"loop{number}/loop"
        folder.mkdir(parents=True)
        (folder / "backing_file").write_text(f"{file}\n")
    asked = []

    @contextmanager
    def opened(path: Path) -> Iterator[int]:
        asked.append(path.name)
        yield -1

    monkeypatch.setattr(loop_device, "_BLOCK_DEVICES", tmp_path)
    monkeypatch.setattr(loop_device, "opened", opened)
    monkeypatch.setattr(loop_device, "_status", lambda _fd: (45).to_bytes(loop_device._INFO.size, "little"))
    assert sorted(LoopDevices().numbers_over(45)) == [1, 2]
    assert sorted(asked) == ["loop1", "loop2"]
