from pathlib import Path

import pytest

from zramfs.errors import MountFailed
from zramfs.receive import choice


@pytest.fixture
def switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    switch = tmp_path / "enable_uring"
    monkeypatch.setattr(choice, "_ENABLE_URING", switch)
    return switch


def test_auto_takes_uring_where_it_is_switched_on(switch: Path) -> None:
    assert choice.choose_transport("auto") == "dev"
    switch.write_text("N\n")
    assert choice.choose_transport("auto") == "dev"
    switch.write_text("Y\n")
    assert choice.choose_transport("auto") == "uring"


def test_uring_that_is_switched_off_is_refused_with_what_to_do(switch: Path) -> None:
    switch.write_text("N\n")
    with pytest.raises(MountFailed, match=f"no transport uring: it is switched off; as root: echo Y > {switch}"):
        choice.choose_transport("uring")


@pytest.mark.usefixtures("switch")
def test_kernel_without_uring_is_told_apart() -> None:
    with pytest.raises(MountFailed, match="this kernel has no FUSE over io_uring"):
        choice.choose_transport("uring")


def test_what_is_wanted_is_taken(switch: Path) -> None:
    switch.write_text("Y\n")
    assert [choice.choose_transport(wanted) for wanted in ("dev", "uring")] == ["dev", "uring"]


def test_each_receiver_has_a_channel(switch: Path) -> None:
    del switch
    assert choice.receiver_count("dev") == 1
    assert choice.receiver_count("uring") > 1
