import os
from pathlib import Path

import pytest

from zramfs.cli.pid_file import PidFile
from zramfs.errors import MountFailed


def test_file_is_whole_and_goes_at_the_end(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "pid")
    with file.kept():
        file.write()
        assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
        assert [path.name for path in tmp_path.iterdir()] == ["pid"]
    assert not any(tmp_path.iterdir())


def test_file_of_another_is_not_taken_away(tmp_path: Path) -> None:
    with PidFile(tmp_path / "pid").kept():
        (tmp_path / "pid").write_text("1\n")
    assert (tmp_path / "pid").read_text() == "1\n"


@pytest.mark.parametrize("text", ["1", "root:x:0:0:root"])
def test_file_of_a_living_process_or_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    with pytest.raises(MountFailed):
        PidFile(tmp_path / "pid").require_free()
    with pytest.raises(MountFailed):
        PidFile(tmp_path / "pid").write()
    assert (tmp_path / "pid").read_text() == text
