"""The order of what happens when the daemon is asked to end, and that nothing of it can take forever."""

import faulthandler
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyfuse3
import pytest
import trio

from zramfs.errors import MountFailed
from zramfs.fuse import ending
from zramfs.mountpoint import Mount

if TYPE_CHECKING:
    from zramfs.fuse.filesystem import ZramFilesystem

MOUNT = Mount(Path("/nowhere"), "fuse.zramfs", "0:99")


class Story:
    """Stands for the file system, its announcements and pyfuse3; notes who is called."""

    def __init__(self, *, notification_ends: bool = True) -> None:
        self.happened: list[str] = []
        self.announcements = self
        self._notification_ends = notification_ends

    def interrupt_devices(self) -> None:
        self.happened.append("interrupt")

    def abandon_devices(self) -> None:
        self.happened.append("abandon")

    async def close(self) -> None:
        self.happened.append("no more notifications")
        if not self._notification_ends:
            await trio.sleep_forever()

    def stop_receiving(self) -> None:
        self.happened.append("stop receiving")

    async def end(self) -> None:
        with trio.CancelScope() as answering:
            await ending.end_mount(
                MOUNT, cast("ZramFilesystem", self), stop_receiving=self.stop_receiving, answering=answering
            )
            await trio.lowlevel.checkpoint()
        if answering.cancelled_caught:
            self.happened.append("cancel")


@pytest.fixture
def last_resort_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    armed: list[float] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda timeout_s, **_: armed.append(timeout_s))
    monkeypatch.setattr(pyfuse3, "terminate", lambda: None)
    return armed


def let_mount_be(monkeypatch: pytest.MonkeyPatch, *, busy: bool) -> None:
    def unmount(_mount: Mount) -> None:
        if busy:
            raise MountFailed("busy")

    monkeypatch.setattr(ending, "is_still_there", lambda _mount: True)
    monkeypatch.setattr(ending, "unmount", unmount)


async def test_mount_that_nobody_uses_is_unmounted_and_the_kernel_ends_the_session(
    monkeypatch: pytest.MonkeyPatch, last_resort_s: list[float]
) -> None:
    let_mount_be(monkeypatch, busy=False)
    story = Story()
    with trio.move_on_after(0.5):  # the session ends, and with it the end of the mount
        await story.end()
    assert story.happened == ["interrupt", "abandon"]  # of requests that the kernel has given up
    assert last_resort_s == [ending._LAST_RESORT_S]


@pytest.mark.parametrize("busy", [True, False])  # False: unmounted here, and still there in another namespace
@pytest.mark.parametrize("notification_ends", [True, False])
async def test_session_that_goes_on_is_ended_once_nobody_waits_for_a_device(
    monkeypatch: pytest.MonkeyPatch,
    last_resort_s: list[float],
    autojump_clock: trio.testing.MockClock,
    *,
    notification_ends: bool,
    busy: bool,
) -> None:
    let_mount_be(monkeypatch, busy=busy)
    story = Story(notification_ends=notification_ends)
    began_s = trio.current_time()
    await story.end()
    assert story.happened == ["interrupt", "abandon", "no more notifications", "stop receiving", "cancel"]
    assert trio.current_time() - began_s < last_resort_s[0] < 10
    del autojump_clock
