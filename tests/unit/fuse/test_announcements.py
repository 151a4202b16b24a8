"""Notifications that hang, as those of a name do while a look-up is in the works, hold up nobody but their own."""

import threading
from collections.abc import Iterator
from typing import cast

import pyfuse3
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from zramfs.device.lineage import OwnMount
from zramfs.fuse.announcements import Announcements

FOLDER = cast("pyfuse3.InodeT", 2)
FILE = cast("pyfuse3.InodeT", 3)


class Kernel:
    """Notes what it is told; the name `hangs` takes it until `answer`."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.answer = threading.Event()

    def invalidate_entry(self, _folder: int, name: bytes) -> None:
        if name == b"hangs":
            self.answer.wait(10)
        if name == b"unknown":
            raise FileNotFoundError
        if name == b"broken":
            raise OSError(5, "broken")
        self.told.append(name)

    def invalidate_inode(self, inode: int, *, attr_only: bool) -> None:
        assert attr_only
        self.told.append(inode)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    kernel = Kernel()
    monkeypatch.setattr(pyfuse3, "invalidate_entry", kernel.invalidate_entry)
    monkeypatch.setattr(pyfuse3, "invalidate_inode", kernel.invalidate_inode)
    yield kernel
    kernel.answer.set()


@pytest.fixture
def announcements() -> Announcements:
    return Announcements(OwnMount(1))


async def test_whoever_changed_something_waits_until_the_kernel_knows(
    kernel: Kernel, announcements: Announcements, nursery: trio.Nursery
) -> None:
    nursery.start_soon(announcements.serve)
    announcements.name_gone(FOLDER, "zram1")
    announcements.size_changed(FILE)
    await announcements.sent()
    assert kernel.told == [b"zram1", 3]


async def test_whoever_changed_nothing_waits_for_no_notification(
    kernel: Kernel, announcements: Announcements, nursery: trio.Nursery
) -> None:
    nursery.start_soon(announcements.serve)
    await announcements.sent()
    announcements.name_gone(FOLDER, "first")
    await announcements.sent()
    announcements.name_gone(FOLDER, "hangs")
    await wait_all_tasks_blocked()
    assert kernel.told == [b"first"]
    kernel.answer.set()


async def test_close_lets_those_go_who_wait_and_returns_after_the_one_under_way(
    kernel: Kernel, announcements: Announcements, nursery: trio.Nursery
) -> None:
    nursery.start_soon(announcements.serve)
    announcements.name_gone(FOLDER, "hangs")
    announcements.name_gone(FOLDER, "never")
    released, closed = trio.Event(), trio.Event()

    async def wait() -> None:
        await announcements.sent()
        released.set()

    async def close() -> None:
        await announcements.close()
        closed.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    nursery.start_soon(close)
    await released.wait()
    assert not closed.is_set()
    kernel.answer.set()
    await closed.wait()
    announcements.name_gone(FOLDER, "late")
    await announcements.sent()
    assert kernel.told == [b"hangs"]


async def test_what_the_kernel_does_not_know_or_refuses_stops_no_other(
    kernel: Kernel, announcements: Announcements, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    nursery.start_soon(announcements.serve)
    for name in ("unknown", "broken", "zram1"):
        announcements.name_gone(FOLDER, name)
    await announcements.sent()
    assert kernel.told == [b"zram1"]
    assert [record.message for record in caplog.records] == ["the kernel was not told of a change: [Errno 5] broken"]


async def test_without_a_mount_nobody_is_told(kernel: Kernel) -> None:
    announcements = Announcements(OwnMount())
    announcements.name_gone(FOLDER, "zram1")
    await announcements.sent()
    assert kernel.told == []
