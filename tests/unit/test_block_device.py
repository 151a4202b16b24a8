import time
from pathlib import Path

import pytest

from zramfs import block_device, patience
from zramfs.block_device import discard_swap_area, is_readable

PAGES = 16


def test_block_device_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "ANSWER_S", 0.1)
    monkeypatch.setattr(block_device, "_answers", lambda _: time.sleep(60))
    with pytest.raises(TimeoutError):
        is_readable(Path("/dev/loop0"))


@pytest.mark.parametrize(("size_pages", "answers"), [(PAGES, True), (0, False)])
def test_what_gives_no_page_is_not_readable(tmp_path: Path, size_pages: int, *, answers: bool) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(size_pages * 4096))
    assert is_readable(file) is answers
    assert not is_readable(tmp_path / "missing")


def test_what_cannot_discard_says_so(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(PAGES * 4096))
    with pytest.raises(OSError, match="ioctl"):
        discard_swap_area(file)
