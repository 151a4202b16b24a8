"""hot_add and hot_remove, and the kernel's own beside them."""

import errno
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import MIB, Mounted, zramfs

Mount = Callable[..., Mounted]

KERNEL_CONTROL = Path("/sys/class/zram-control")
JUNK = ["", "x", "-1", "1x", " 1", "2147483648", "-2147483649", "999"]


def control(mounted: Mounted) -> Path:
    return mounted.path / "sys/class/zram-control"


def hot_add(folder: Path) -> int:
    return int((folder / "hot_add").read_text())


def hot_remove(folder: Path, value: object) -> str:
    """What a write gets: ok, or the errno's name."""
    fd = os.open(folder / "hot_remove", os.O_WRONLY)
    try:
        os.write(fd, str(value).encode())
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    else:
        return "ok"
    finally:
        os.close(fd)


def test_modes_are_the_kernels(mount: Mount) -> None:
    folder = control(mount())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes == {"hot_add": 0o400, "hot_remove": 0o200}


def test_hot_added_device_is_there_at_once_without_a_size(mount: Mount) -> None:
    mounted = mount()
    assert not (mounted.path / "zram1").exists()
    assert hot_add(control(mounted)) == 1
    assert (mounted.path / "zram1").stat().st_size == 0
    assert sorted(entry.name for entry in (mounted.path / "sys/block").iterdir()) == ["zram0", "zram1"]
    assert mounted.show("initstate", "zram1") == "0\n"
    mounted.attribute("disksize", "zram1").write_text("16M")
    assert (mounted.path / "zram1").stat().st_size == 16 * MIB
    (mounted.path / "zram1").write_bytes(b"second")
    assert (mounted.path / "zram1").read_bytes()[:6] == b"second"
    assert mounted.device(1)["mm_stat"]["orig_data_size"] == 4096


def test_hot_removed_device_is_gone_at_once(mount: Mount) -> None:
    mounted = mount("--devices", 3)
    for _ in range(2):
        assert mounted.show("initstate", "zram1") == "1\n"
        assert hot_remove(control(mounted), "1\n") == "ok"
        assert not (mounted.path / "zram1").exists()
        assert not mounted.attribute("disksize", "zram1").exists()
        assert sorted(entry.name for entry in mounted.path.iterdir()) == ["sys", "zram0", "zram2"]
        assert hot_add(control(mounted)) == 1
        mounted.attribute("disksize", "zram1").write_text("16M")


def test_new_device_of_an_old_number_is_empty(mount: Mount) -> None:
    mounted = mount(size="16M")
    mounted.file.write_bytes(os.urandom(MIB))
    assert hot_remove(control(mounted), 0) == "ok"
    assert hot_add(control(mounted)) == 0
    mounted.attribute("disksize").write_text("16M")
    assert mounted.file.read_bytes() == bytes(16 * MIB)


def test_open_device_is_not_removed_and_loses_nothing(mount: Mount) -> None:
    mounted = mount(size="16M")
    with mounted.file.open("r+b", buffering=0) as file:
        file.write(b"kept")
        assert hot_remove(control(mounted), 0) == "EBUSY"
        assert os.pread(file.fileno(), 4, 0) == b"kept"
    assert hot_remove(control(mounted), 0) == "ok"


def test_device_with_a_loop_device_is_neither_removed_nor_reset(mount: Mount) -> None:
    mounted = mount(size="16M")
    assert zramfs("loop", "attach", mounted.path).returncode == 0
    assert hot_remove(control(mounted), 0) == "EBUSY"
    with pytest.raises(OSError, match="busy"):
        mounted.attribute("reset").write_text("1")
    assert zramfs("loop", "detach", mounted.path).returncode == 0
    mounted.attribute("reset").write_text("1")
    assert hot_remove(control(mounted), 0) == "ok"


def test_attribute_that_was_open_at_the_removal_answers_enodev(mount: Mount) -> None:
    mounted = mount(size=None)
    with mounted.attribute("disksize").open("w") as disksize:
        assert hot_remove(control(mounted), 0) == "ok"
        disksize.write("16M")
        with pytest.raises(OSError, match="No such device"):
            disksize.flush()
        assert hot_add(control(mounted)) == 0
        with pytest.raises(OSError, match="No such device"):
            disksize.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), disksize.fileno())
    assert mounted.show("initstate") == "0\n"


def test_mount_without_devices_still_works(mount: Mount) -> None:
    mounted = mount()
    assert hot_remove(control(mounted), 0) == "ok"
    assert mounted.status()["devices"] == []
    assert zramfs("status", mounted.path).returncode == 0
    assert hot_add(control(mounted)) == 0


def test_many_devices_come_and_go_from_a_shell(mount: Mount) -> None:
    mounted = mount()
    script = f"""
        set -e
        cd {control(mounted)}
        for n in $(seq 50); do [ $(cat hot_add) = $n ]; done
        for n in $(seq 50); do echo $n > hot_remove; [ ! -e {mounted.path}/zram$n ]; done
    """
    assert subprocess.run(["bash", "-c", script], check=False).returncode == 0
    assert [entry.name for entry in (mounted.path / "sys/block").iterdir()] == ["zram0"]


@pytest.mark.parametrize("value", JUNK)
def test_hot_remove_refuses_junk_as_the_kernel_does(mount: Mount, value: str) -> None:
    if not KERNEL_CONTROL.exists():
        pytest.skip("the kernel has no zram here")
    assert hot_remove(control(mount()), value) == hot_remove(KERNEL_CONTROL, value)
