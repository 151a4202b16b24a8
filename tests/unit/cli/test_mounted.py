"""What a verb makes of a mount whose daemon is another program."""

import os
from pathlib import Path
from typing import Any

import pytest

from zramfs.cli import mounted, status
from zramfs.cli.mounted import MountedZramfs
from zramfs.errors import MountFailed
from zramfs.mountpoint import Mount


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MountedZramfs:
    device = tmp_path.stat().st_dev
    mount = Mount(tmp_path, "fuse.zramfs", f"{os.major(device)}:{os.minor(device)}")
    monkeypatch.setattr(mounted, "find_ours", lambda _: mount)
    (tmp_path / "sys/fs/zramfs").mkdir(parents=True)
    (tmp_path / "sys/fs/zramfs/version").touch()
    return MountedZramfs(tmp_path)


def test_text_cannot_steer_a_terminal(foreign: MountedZramfs) -> None:
    foreign.set_daemon_attribute("version", "1.0\x1b]0;owned\x07\x9b31m")
    assert foreign.daemon_attribute("version").isprintable()


def test_text_without_end_is_not_read_to_it(foreign: MountedZramfs) -> None:
    foreign.set_daemon_attribute("version", "1" * 100_000)
    with pytest.raises(MountFailed, match="does not end"):
        foreign.daemon_attribute("version")


def test_reported_files_are_not_opened(foreign: MountedZramfs) -> None:
    (foreign.path / "sys/fs/zramfs/report").write_text(
        '{"sys/fs/zramfs/version": "2.0\\u001b\\n", "sys/block/zram3/mm_stat": "1\\n", '
        '"sys/block/zram3/accel/x": "\\udcff"}'
    )
    with foreign.read_at_once():
        assert foreign.daemon_attribute("version") == "2.0\\x1b"
        assert foreign.device_names() == ["zram3"]
        assert foreign.attribute("zram3", "mm_stat") == "1"
        assert foreign.attribute_names("zram3", "accel") == ["x"]
        assert foreign.attribute("zram3", "accel/x") == "\\xff"
    assert foreign.daemon_attribute("version") == ""


def test_daemon_without_a_report_is_read_file_by_file(foreign: MountedZramfs) -> None:
    (foreign.path / "sys/fs/zramfs/version").write_text("0.0\n")
    with foreign.read_at_once():
        assert foreign.daemon_attribute("version") == "0.0"


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', "[" * 100_000, '{"a": "\\ud800"}'])
def test_report_of_another_program_is_one_line(foreign: MountedZramfs, text: str) -> None:
    (foreign.path / "sys/fs/zramfs/report").write_text(text)
    with pytest.raises(MountFailed, match="does not answer as a zramfs does"), foreign.read_at_once():
        pass


@pytest.mark.parametrize("report", [{}, {"daemon": {"version": "1", "pid": 1, "rss_bytes": "x"}}, {"daemon": []}])
def test_status_of_another_program_is_one_line(monkeypatch: pytest.MonkeyPatch, report: Any) -> None:
    monkeypatch.setattr(mounted, "find_ours", lambda _: Mount(Path("/m"), "fuse.zramfs", "0:1"))
    monkeypatch.setattr(status, "ask_living", lambda *_: report)
    with pytest.raises(MountFailed, match="does not answer as a zramfs does"):
        status.status.main(["/m"], standalone_mode=False)
