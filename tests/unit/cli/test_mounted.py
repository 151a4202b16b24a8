"""What a verb makes of a mount whose daemon is another program."""

from pathlib import Path
from typing import Any

import pytest

from zramfs.cli import mounted, status
from zramfs.cli.mounted import MountedZramfs
from zramfs.errors import MountFailed


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MountedZramfs:
    monkeypatch.setattr(mounted, "require_mount", lambda _: None)
    (tmp_path / "sys/fs/zramfs").mkdir(parents=True)
    (tmp_path / "sys/block").mkdir()
    return MountedZramfs(tmp_path)


def test_text_cannot_steer_a_terminal(foreign: MountedZramfs) -> None:
    foreign.set_daemon_attribute("version", "1.0\x1b]0;owned\x07\x9b31m")
    assert foreign.daemon_attribute("version") == "1.0?]0;owned??31m"


def test_text_without_end_is_not_read_to_it(foreign: MountedZramfs) -> None:
    (foreign.path / "sys/fs/zramfs/version").symlink_to("/dev/zero")
    assert len(foreign.daemon_attribute("version")) == 1 << 20


@pytest.mark.parametrize("report", [{}, {"daemon": {"version": "1", "pid": 1, "rss_bytes": "x"}}, {"daemon": []}])
def test_status_of_another_program_is_one_line(monkeypatch: pytest.MonkeyPatch, report: Any) -> None:
    monkeypatch.setattr(status, "find_ours", lambda _: None)
    monkeypatch.setattr(status, "ask", lambda *_: report)
    with pytest.raises(MountFailed, match="does not answer as a zramfs does"):
        status.status.main(["/m"], standalone_mode=False)
