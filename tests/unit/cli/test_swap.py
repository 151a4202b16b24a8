"""`swap on` that fails half-way."""

from pathlib import Path

import pytest

from zramfs.cli import mounted, swap
from zramfs.errors import CommandFailed, DeviceBusy, MountFailed
from zramfs.mountpoint import Mount

LOOP = Path("/dev/loop7")


@pytest.fixture
def undone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been undone, each with a failure of its own."""
    steps: list[str] = []

    def detach(loops: list[Path]) -> None:
        steps.append(f"detach {loops}")
        raise DeviceBusy("in use")

    def unlock(_: object) -> None:
        steps.append("unlock")
        raise MountFailed("the daemon has gone")

    monkeypatch.setattr(mounted, "find_ours", lambda path: Mount(path, "fuse.zramfs", "0:1"))
    monkeypatch.setattr(swap, "attach_loop", lambda *_: LOOP)
    monkeypatch.setattr(swap, "detach_unused", detach)
    monkeypatch.setattr(swap, "_unlock_if_unused", unlock)
    return steps


@pytest.mark.parametrize("failure", [CommandFailed("first"), OSError(5, "first"), KeyboardInterrupt("first")])
def test_whatever_fails_everything_is_undone_and_the_first_failure_told(
    undone: list[str], monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def protect(_: object) -> None:
        raise failure

    monkeypatch.setattr(swap, "_protect", protect)
    with pytest.raises(type(failure), match="first"):
        swap.on.callback(Path("/m"), "zram0", 100)  # type: ignore[misc]
    assert undone == ["unlock", f"detach {[LOOP]}"]


def test_nothing_is_undone_of_what_succeeds(undone: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_protect", lambda _: None)
    monkeypatch.setattr(swap, "run_command", lambda *_: "")
    swap.on.main(["/m"], standalone_mode=False)
    assert undone == []
