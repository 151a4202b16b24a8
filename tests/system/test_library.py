"""`zramfs.mount` in a program: what it gives, and how it ends, however the program does."""

import errno
import inspect
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from library_programs import started, wait_until_gone
from mounts import MIB, is_mounted, is_zombie

import zramfs
from zramfs.cli.mount import mount as mount_verb

_NOT_OF_THE_LIBRARY = {"mountpoint", "foreground"}


@pytest.fixture(autouse=True)
def _temporary_folders_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_disk_is_there_within_and_gone_afterwards() -> None:
    with zramfs.mount(size="64M", algorithm="zstd", devices=2) as disk:
        disk.block_file.write_bytes(b"zspage " * MIB)
        pid = disk.status().daemon.pid
        assert [device.name for device in disk.status().devices] == ["zram0", "zram1"]
        assert disk.device("zram1").status().mm_stat.orig_data_size == 0
        assert disk.status().devices[0].mm_stat.orig_data_size == 7 * MIB
        assert disk.device("zram1").block_file.stat().st_size == 64 * MIB
        with pytest.raises(zramfs.InvalidValue, match="has no device 'zram7'"):
            disk.device("zram7")
    assert not is_mounted(disk.path)
    assert not disk.path.exists()
    assert is_zombie(pid)
    with pytest.raises(zramfs.NotMounted, match="no zramfs is mounted"):
        disk.status()
    with pytest.raises(zramfs.NotMounted, match="no zramfs is mounted"):
        disk.device("zram1")


def test_disk_is_mounted_at_a_folder_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    with zramfs.mount("here", size="4M", log_file="log", trace="trace") as disk:
        assert disk.path == tmp_path / "here"
    assert (tmp_path / "here").is_dir()
    assert "zramfs" in (tmp_path / "log").read_text()
    assert (tmp_path / "trace").exists()


def test_attributes_have_the_errnos_of_the_daemon() -> None:
    with zramfs.mount() as disk:
        attributes = disk.attributes
        attributes["disksize"] = 4 * MIB
        assert attributes["disksize"] == str(4 * MIB)
        for name, value, number in (
            ("disksize", "8M", errno.EBUSY),
            ("stream_policy", "", errno.EINVAL),
            ("mm_stat", "1", errno.EACCES),
        ):
            with pytest.raises(OSError, match=os.strerror(number)) as raised:
                attributes[name] = value
            assert raised.value.errno == number
            assert str(raised.value.filename) == str(disk.path / "sys/block/zram0" / name)
        with pytest.raises(KeyError):
            attributes["accel"]


def test_exception_within_ends_the_mount_and_passes() -> None:
    with pytest.raises(ZeroDivisionError), zramfs.mount(size="4M") as disk:
        raise ZeroDivisionError
    assert not disk.path.exists()


def test_mount_in_use_ends_and_says_who_uses_it() -> None:
    left_open = []
    with (
        pytest.raises(zramfs.MountFailed, match=rf"is busy: it is used by {os.getpid()} \(\S+\)$"),
        zramfs.mount(size="4M") as disk,
    ):
        left_open.append(disk.block_file.open("rb"))
    assert not is_mounted(disk.path)
    assert not disk.path.exists()
    with pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
        left_open[0].close()


def test_use_of_a_mount_is_a_note_of_an_exception_that_ends_it() -> None:
    left_open = []
    with pytest.raises(ZeroDivisionError) as raised, zramfs.mount(size="4M") as disk:  # noqa: PT012
        left_open.append(disk.block_file.open("rb"))
        raise ZeroDivisionError
    with suppress(OSError):
        left_open[0].close()
    assert "is busy" in raised.value.__notes__[0]
    assert not disk.path.exists()


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"size": "much"}, zramfs.BadUsage, "Invalid value for size: 'much' is not a size"),
        ({"size": "1M", "mem_limit": "-1"}, zramfs.BadUsage, "Invalid value for mem_limit"),
        ({"size": "1M", "algorithm": "none such"}, zramfs.BadUsage, "no algorithm 'none such': there are "),
        ({"size": "1M\0"}, zramfs.BadUsage, "embedded null byte"),
        ({"size": "1M", "path": ""}, zramfs.BadUsage, "path is empty"),
        ({"size": "1M", "path": "/nowhere"}, zramfs.MountFailed, "/nowhere does not exist: create it with"),
    ],
)
def test_mount_that_cannot_be_is_one_line(
    tmp_path: Path, arguments: dict[str, str], kind: type[zramfs.ZramError], text: str
) -> None:
    with pytest.raises(kind, match=text) as raised, zramfs.mount(**arguments):  # type: ignore[arg-type]
        pass
    assert "\n" not in str(raised.value)
    assert not str(raised.value).startswith(("zramfs", "python"))
    assert "(see:" not in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_mount_ends_with_a_program_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    process, path, pid = started(tmp_path, "time.sleep(600)")
    with process:
        process.send_signal(number)
    wait_until_gone(path, pid)


def test_program_that_is_killed_leaves_no_mount_that_was_being_made(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import zramfs; zramfs.mount(size='64M').__enter__()"])
    deadline = time.monotonic() + 30
    while not (made := list(tmp_path.glob("zramfs-*"))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    wait_until_gone(made[0])


def test_fork_of_a_program_does_not_end_its_mount(tmp_path: Path) -> None:
    within = "child = os.fork(); child and (os.waitpid(child, 0), print(disk.status().daemon.pid, flush=True))"
    process, path, pid = started(tmp_path, within)
    said, complaint = process.communicate()
    assert (process.returncode, complaint) == (0, "")
    assert str(pid) in said
    wait_until_gone(path, pid)


def test_mount_ends_also_if_its_keeper_was_killed(tmp_path: Path) -> None:
    with zramfs.mount(size="4M") as disk:
        keepers = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit()
            and b"zramfs.library.keeper" in _command(entry)
            and os.fsencode(disk.path) in _command(entry)
        ]
        os.kill(keepers[0], signal.SIGKILL)
    wait_until_gone(disk.path)
    assert not list(tmp_path.iterdir())


def _command(entry: Path) -> list[bytes]:
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def test_every_argument_is_an_option_of_the_verb() -> None:
    options = {option.lstrip("-").replace("-", "_") for each in mount_verb.params for option in each.opts}
    arguments = set(inspect.signature(zramfs.mount).parameters)
    assert arguments - {"path"} <= options
