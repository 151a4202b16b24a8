"""A backing device whose process hangs, dies, or is given up: whoever waits, and the pages."""

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from mmap import mmap
from pathlib import Path

import pytest
import trio
from reads import read_back

from zramfs.device import backing, backing_link
from zramfs.device.backing import BackingDevice, open_backing_device
from zramfs.device.backing_process import SLOT_PAGES, SLOTS
from zramfs.device.device import ZramDevice
from zramfs.device.lineage import OwnMount
from zramfs.device.writeback import BdStat, Selection
from zramfs.errors import BackingDeviceFailed, LiesOnOwnMount

PAGE = 4096
BLOCKS = 4 * SLOT_PAGES

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Pages = Callable[..., bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "backing"
    path.write_bytes(bytes(BLOCKS * PAGE))
    return path


@pytest.fixture
async def device(path: Path) -> AsyncIterator[BackingDevice]:
    device = await open_backing_device(str(path), OwnMount())
    yield device
    device.close()
    with trio.fail_after(20):
        await device.closed.wait()


@pytest.fixture
async def zram(path: Path, open_device: OpenDevice, random_pages: Pages) -> AsyncIterator[ZramDevice]:
    """Pages 0 to 3 are in the backing device, 4 to 7 in memory."""
    async with open_device(8, backing=path) as device:
        await device.write(0, random_pages(8), is_async=False)
        await device.upkeep.write_back([Selection(0, 4)])
        yield device


def backing_of(zram: ZramDevice) -> BackingDevice:
    assert zram.writeback.backing is not None
    return zram.writeback.backing


def pid_of(device: BackingDevice) -> int:
    return device._link._process.pid


def pages_of(data: bytes) -> memoryview:
    pages = memoryview(mmap(-1, len(data)))
    pages[:] = data
    return pages


def files_of(pid: int) -> list[str]:
    return sorted(str(fd.readlink()).partition(":")[0] for fd in Path(f"/proc/{pid}/fd").iterdir())


def states_of(pid: int) -> set[str]:
    """The states of a process's threads: T are those that have stopped, which takes them a moment."""
    return {stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")}


@contextmanager
def stopped(device: BackingDevice) -> Iterator[None]:
    pid = pid_of(device)
    os.kill(pid, signal.SIGSTOP)
    try:
        while states_of(pid) != {"T"}:
            time.sleep(0.001)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - it is another process that is waited for
            await trio.sleep(0.002)


def choose_none(zram: ZramDevice) -> Awaitable[None]:
    zram.reset()
    return zram.upkeep.choose_backing(None)


async def fails(read: Callable[[], object]) -> None:
    with pytest.raises(BackingDeviceFailed) as raised:
        await read()  # type: ignore[misc]
    assert raised.value.errno == errno.EIO


async def test_more_pages_than_a_slot_takes_are_written_and_read(device: BackingDevice, random_pages: Pages) -> None:
    data = random_pages(BLOCKS)
    blocks = [device.blocks.reserve() for _ in range(BLOCKS)]
    assert await device.write(pages_of(data), blocks) == {}
    blocks.reverse()
    contents = await device.read(blocks)
    assert [contents[at : at + PAGE] for at in range(0, len(data), PAGE)] == [
        data[at : at + PAGE] for at in reversed(range(0, len(data), PAGE))
    ]
    assert (device.writes, device.reads) == (BLOCKS, BLOCKS)


async def test_failures_are_told_by_their_place_in_the_whole(device: BackingDevice, path: Path) -> None:
    blocks = [device.blocks.reserve() for _ in range(BLOCKS)]
    os.truncate(path, (SLOT_PAGES + 3) * PAGE)
    await fails(lambda: device.read(blocks))
    assert device.reads == BLOCKS  # as the kernel counts: those that were to be read
    assert len(await device.read(blocks[: SLOT_PAGES + 3])) == (SLOT_PAGES + 3) * PAGE


async def test_its_process_has_nothing_of_the_daemon_s(device: BackingDevice, path: Path) -> None:
    await device.read([device.blocks.reserve()])
    assert files_of(pid_of(device)) == ["/dev/null", "/dev/null", "/memfd", str(path), "socket"]
    assert os.getsid(pid_of(device)) == pid_of(device)


async def test_any_number_of_reads_waits_for_a_device_that_hangs(device: BackingDevice) -> None:
    ended = 0

    async def read(block: int) -> None:
        nonlocal ended
        await device.read([block])
        ended += 1

    blocks = [device.blocks.reserve() for _ in range(BLOCKS)]
    async with trio.open_nursery() as nursery:
        with stopped(device):
            for at in range(2000):
                nursery.start_soon(read, blocks[at % BLOCKS])
            await trio.testing.wait_all_tasks_blocked()
            assert (ended, len(device._queue)) == (0, 2000 - SLOTS)
            with trio.fail_after(1):
                assert await trio.to_thread.run_sync(int) == 0
    assert ended == 2000


async def test_pages_in_memory_are_read_while_the_device_hangs(zram: ZramDevice, random_pages: Pages) -> None:
    async with trio.open_nursery() as nursery:
        with stopped(backing_of(zram)):
            nursery.start_soon(read_back, zram, 0, PAGE)
            nursery.start_soon(zram.write, PAGE + 1, b"x")
            nursery.start_soon(zram.upkeep.write_back, [Selection(4, 6)])
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(1):
                assert await read_back(zram, 4 * PAGE, 4 * PAGE) == random_pages(8)[4 * PAGE :]
    expected = bytearray(random_pages(8))
    expected[PAGE + 1 : PAGE + 2] = b"x"
    assert await read_back(zram, 0, 8 * PAGE) == expected


async def test_whoever_waits_is_abandoned_at_once(zram: ZramDevice, random_pages: Pages) -> None:
    async with trio.open_nursery() as nursery:
        with stopped(backing_of(zram)):
            nursery.start_soon(fails, lambda: read_back(zram, 0, PAGE))
            nursery.start_soon(fails, lambda: zram.write(1, b"x"))
            nursery.start_soon(fails, lambda: zram.upkeep.write_back([Selection(4, 6)]))
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(1):
                zram.abandon_waiting()
                await trio.testing.wait_all_tasks_blocked()
                assert len(nursery.child_tasks) == 0
            await fails(lambda: read_back(zram, 0, PAGE))
            await fails(lambda: zram.upkeep.write_back([Selection(4, 6)]))
            assert zram.writeback.statistics() == BdStat(4, 2, 4)
            assert await read_back(zram, 4 * PAGE, 4 * PAGE) == random_pages(8)[4 * PAGE :]
            with trio.fail_after(10):
                zram.close()
                await zram.writeback.wait_until_released()


async def test_a_backing_device_on_the_own_mount_is_refused(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    status = await trio.Path(path).stat()
    with pytest.raises(LiesOnOwnMount) as raised:
        await open_backing_device(str(path), OwnMount(status.st_dev))
    assert str(raised.value).startswith(f"{str(path)!r} lies on this mount: ")
    assert [record.message for record in caplog.records] == [f"backing_dev is refused: {raised.value}"]


async def test_opening_is_abandoned(open_device: OpenDevice, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = []

    def spawn(link: socket.socket) -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen(["sleep", "60"], stdin=link.fileno()))
        return processes[0]

    monkeypatch.setattr(backing_link, "_spawn", spawn)
    async with open_device(8) as zram, trio.open_nursery() as nursery:
        zram.reset()
        nursery.start_soon(fails, lambda: zram.upkeep.choose_backing(str(path)))
        await trio.testing.wait_all_tasks_blocked(0.05)
        zram.abandon_waiting()
        zram.abandon_waiting()
        await fails(lambda: zram.upkeep.choose_backing(str(path)))
    await until(lambda: processes[0].returncode is not None)
    assert len(processes) == 1


async def test_a_device_that_hangs_is_closed_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = await open_backing_device(str(path), OwnMount())
    monkeypatch.setattr(backing_link, "_RELEASE_S", 0.05)
    pid, process = pid_of(device), device._link._process
    monkeypatch.setattr(process, "kill", lambda: None)  # as if it were in a call that no signal ends
    with stopped(device):
        device.close()
        with trio.fail_after(10):
            await device.closed.wait()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: process.returncode is not None)


async def test_another_process_goes_on_when_one_has_died(
    device: BackingDevice, path: Path, caplog: pytest.LogCaptureFixture, random_pages: Pages
) -> None:
    first = pid_of(device)
    block = device.blocks.reserve()
    await device.write(pages_of(random_pages(1)), [block])
    elsewhere = await trio.Path(path).rename(path.with_name("elsewhere"))
    with stopped(device):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, lambda: device.read([block]))
            await trio.testing.wait_all_tasks_blocked()
            os.kill(first, signal.SIGKILL)
    assert await device.read([block]) == random_pages(1)
    assert pid_of(device) != first
    assert device.path == str(elsewhere)
    assert [record.message for record in caplog.records] == [
        f"the process of {device.path} has died: 1 requests fail, and another one is started"
    ]
    with pytest.raises(BackingDeviceFailed) as raised:
        await open_backing_device(device.path, OwnMount())
    assert raised.value.errno == errno.EBUSY


async def test_a_device_that_cannot_be_opened_again_is_tried_until_it_can(
    device: BackingDevice, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backing, "_RESTART_S", 0.05)
    block = device.blocks.reserve()
    os.truncate(path, 0)
    os.kill(pid_of(device), signal.SIGKILL)
    await until(lambda: len(caplog.records) == 2)
    await fails(lambda: device.read([block]))
    await fails(lambda: device.write(pages_of(bytes(PAGE)), [block]))
    assert [record.message for record in caplog.records][1] == f"{path} cannot be used: it has less than a page"
    os.truncate(path, PAGE)
    await until(lambda: device._refusal is None)
    assert await device.read([block]) == bytes(PAGE)


@pytest.mark.parametrize("is_refused", [False, True])
@pytest.mark.parametrize("let_go", [ZramDevice.reset, ZramDevice.close, ZramDevice.abandon_waiting, choose_none])
async def test_a_device_whose_process_has_died_is_let_go(
    zram: ZramDevice,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    let_go: Callable[[ZramDevice], object],
    *,
    is_refused: bool,
) -> None:
    monkeypatch.setattr(backing, "_RESTART_S", 0.01 if is_refused else 60)
    device = backing_of(zram)
    os.truncate(path, 0)  # no other process can open it
    os.kill(pid_of(device), signal.SIGKILL)
    await until(lambda: device._refusal is not None if is_refused else not device._is_linked)
    await device._link.released.wait()
    awaitable = let_go(zram)
    if isinstance(awaitable, Coroutine):
        await awaitable
    await trio.testing.wait_all_tasks_blocked(0.01)  # a system task that fails would end the run


async def test_an_error_while_its_process_ends_is_logged(
    device: BackingDevice, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(device._link, "_wait_for_end", fail)
    device.close()
    await device.closed.wait()
    device._link._process.wait()
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


async def test_a_bug_gives_the_device_up_and_nothing_else(
    device: BackingDevice, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(device._link, "_note", fail)
    block = device.blocks.reserve()
    await fails(lambda: device.read([block]))
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


async def test_no_signal_that_a_service_gets_ends_the_process(device: BackingDevice) -> None:
    block = device.blocks.reserve()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(pid_of(device), number)
    assert await device.read([block]) == bytes(PAGE)


async def test_its_process_ends_when_the_daemon_does(path: Path) -> None:
    device = await open_backing_device(str(path), OwnMount())
    device._link._process.kill = lambda: None  # type: ignore[method-assign]
    began_s = time.monotonic()
    device.close()
    await device.closed.wait()
    assert time.monotonic() - began_s < backing_link._RELEASE_S
