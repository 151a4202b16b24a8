import errno
import logging
import os
import stat
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyfuse3
import pytest
import trio

from zramfs.contracts import Attribute, ControlTree
from zramfs.device.device import ZramDevice
from zramfs.device.device_set import DeviceSet
from zramfs.errors import DeviceBusy
from zramfs.fuse.attribute_file import AttributeFile
from zramfs.fuse.filesystem import ZramFilesystem
from zramfs.receive.handles import Handles
from zramfs.units import PAGE_SIZE

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]

CONTEXT = cast("pyfuse3.RequestContext", SimpleNamespace(pid=0))

PORTIONS = [f"{number:7}\n" * 100 for number in range(100)]
LONG_TEXT = "".join(PORTIONS).encode()


async def _refuse(_text: str) -> None:
    raise DeviceBusy("in use")


async def _break(_text: str) -> None:
    raise ZeroDivisionError("a bug")


def filesystem_of(device: ZramDevice, handles: Handles | None = None) -> ZramFilesystem:
    tree = {
        "busy": Attribute(mode=0o200, store=_refuse),
        "broken": Attribute(mode=0o644, show=lambda: f"{1 // 0}", store=_break),
        "shown": Attribute(mode=0o444, show=lambda: "value\n"),
        "long": Attribute(mode=0o444, show_portions=lambda: iter(PORTIONS), text_bytes=lambda: len(LONG_TEXT)),
    }
    devices = DeviceSet(lambda _name: device)
    devices.add()
    return filesystem_of_set(devices, tree, handles)


def filesystem_of_set(devices: DeviceSet, tree: ControlTree, handles: Handles | None = None) -> ZramFilesystem:
    return ZramFilesystem(
        devices,
        control_tree={"sys": tree},
        device_tree=lambda device: {"sys": {device.name: {"size": Attribute(mode=0o444, show=lambda: "4096\n")}}},
        handles=handles or Handles(),
        on_ready=lambda: None,
    )


async def open_file(filesystem: ZramFilesystem, *names: str, flags: int = os.O_RDWR) -> pyfuse3.FileHandleT:
    inode = pyfuse3.ROOT_INODE
    for name in names:
        inode = (await filesystem.lookup(inode, cast("pyfuse3.FileNameT", name.encode()), CONTEXT)).st_ino
    return (await filesystem.open(inode, cast("pyfuse3.FlagT", flags), CONTEXT)).fh


async def errno_of(awaitable: Any) -> int:
    with pytest.raises(pyfuse3.FUSEError) as raised:
        await awaitable
    return raised.value.errno


async def test_unexpected_exception_costs_one_request_and_is_logged(
    open_device: OpenDevice, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_device(16) as device:
        filesystem = filesystem_of(device)
        broken = await open_file(filesystem, "sys", "broken")
        with caplog.at_level(logging.ERROR):
            assert await errno_of(filesystem.write(broken, 0, b"x")) == errno.EIO
            assert await errno_of(filesystem.read(broken, 0, 100)) == errno.EIO
        assert caplog.text.count("ZeroDivisionError: a bug") == 1
        block = await open_file(filesystem, "zram0")
        assert await filesystem.write(block, 0, bytes(PAGE_SIZE)) == PAGE_SIZE


async def test_unknown_handle_costs_one_request(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        assert await errno_of(filesystem_of(device).read(pyfuse3.FileHandleT(77), 0, 1)) == errno.EIO


async def test_zram_error_becomes_its_errno(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        filesystem = filesystem_of(device)
        busy = await open_file(filesystem, "sys", "busy", flags=os.O_WRONLY)
        assert await errno_of(filesystem.write(busy, 0, b"x")) == errno.EBUSY


async def test_name_that_is_not_there_is_enoent(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        assert await errno_of(open_file(filesystem_of(device), "nope")) == errno.ENOENT


@pytest.mark.parametrize(
    ("name", "flags"), [("shown", os.O_WRONLY), ("shown", os.O_RDWR), ("busy", os.O_RDONLY), ("busy", os.O_RDWR)]
)
async def test_attribute_opens_only_for_what_it_can(open_device: OpenDevice, name: str, flags: int) -> None:
    async with open_device(16) as device:
        assert await errno_of(open_file(filesystem_of(device), "sys", name, flags=flags)) == errno.EACCES


async def test_attribute_shows_one_value_in_portions(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        filesystem = filesystem_of(device)
        handle = await open_file(filesystem, "sys", "shown", flags=os.O_RDONLY)
        assert await filesystem.read(handle, 0, 3) == b"val"
        assert await filesystem.read(handle, 3, 100) == b"ue\n"


async def test_attribute_shows_its_value_from_any_offset(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        filesystem = filesystem_of(device)
        handle = await open_file(filesystem, "sys", "shown", flags=os.O_RDONLY)
        parts = [(2, 2), (4, 100), (6, 1), (1, 3), (1, 3), (0, 100), (5000, 1)]
        assert [await filesystem.read(handle, at, count) for at, count in parts] == [
            b"lu", b"e\n", b"", b"alu", b"alu", b"value\n", b"",
        ]  # fmt: skip


async def test_long_attribute_is_read_from_any_offset_by_many_at_once(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        filesystem = filesystem_of(device)
        handle = await open_file(filesystem, "sys", "long", flags=os.O_RDONLY)

        async def read(at: int, count: int) -> None:
            assert await filesystem.read(handle, at, count) == LONG_TEXT[at : at + count]

        async with trio.open_nursery() as nursery:
            for at in (0, 70_000, 100, len(LONG_TEXT) - 1, 100, len(LONG_TEXT), 5, 1 << 40):
                nursery.start_soon(read, at, 4096)


async def test_sizes_are_a_page_or_that_of_a_long_text(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        filesystem = filesystem_of(device)
        folder = (await filesystem.lookup(pyfuse3.ROOT_INODE, cast("pyfuse3.FileNameT", b"sys"), CONTEXT)).st_ino
        for name, size_bytes in (b"shown", PAGE_SIZE), (b"long", len(LONG_TEXT)):
            entry = await filesystem.lookup(folder, cast("pyfuse3.FileNameT", name), CONTEXT)
            assert (entry.st_size, entry.st_blocks, entry.attr_timeout) == (size_bytes, -(-size_bytes // 512), 0)


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (os.O_RDWR | os.O_DIRECT, "managed_pages"),
        (os.O_RDWR | os.O_DIRECT | os.O_DSYNC, "percpu_pages"),
        (os.O_RDWR | os.O_DIRECT | os.O_SYNC, "percpu_pages"),
        (os.O_RDWR, "percpu_pages"),
    ],
)
async def test_open_flags_choose_the_stream_without_receivers(open_device: OpenDevice, flags: int, kind: str) -> None:
    async with open_device(16) as device:
        filesystem = filesystem_of(device)
        handle = await open_file(filesystem, "zram0", flags=flags)
        await filesystem.write(handle, 0, os.urandom(PAGE_SIZE))
        assert getattr(device.statistics.streams(), kind) == 1


async def test_store_waits_for_a_notification_only_if_it_changes_files() -> None:
    async def store(_text: str) -> None:
        await trio.lowlevel.checkpoint()

    plain = AttributeFile(Attribute(mode=0o200, store=store), trio.sleep_forever)
    assert await plain.open(os.O_WRONLY).write(0, b"1") == 1
    changing = AttributeFile(Attribute(mode=0o200, store=store, changes_files=True), trio.sleep_forever)
    with trio.move_on_after(0.01) as scope:
        await changing.open(os.O_WRONLY).write(0, b"1")
    assert scope.cancelled_caught


async def test_reset_waits_for_the_last_release(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        filesystem = filesystem_of(device)
        handle = await open_file(filesystem, "zram0")
        with pytest.raises(DeviceBusy):
            device.reset()
        await filesystem.release(handle)
        device.reset()
        assert not device.is_initialised


async def test_files_of_a_removed_device_are_gone(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        devices = DeviceSet(lambda _name: device)
        filesystem = filesystem_of_set(devices, {})
        devices.add()
        block = (await filesystem.lookup(pyfuse3.ROOT_INODE, cast("pyfuse3.FileNameT", b"zram0"), CONTEXT)).st_ino
        size = await open_file(filesystem, "sys", "zram0", "size", flags=os.O_RDONLY)
        devices.remove(0)
        assert await errno_of(open_file(filesystem, "zram0")) == errno.ENOENT
        assert await errno_of(open_file(filesystem, "sys", "zram0", "size")) == errno.ENOENT
        assert await errno_of(filesystem.getattr(block, CONTEXT)) == errno.ESTALE
        assert await errno_of(filesystem.read(size, 0, 100)) == errno.ENODEV


async def test_receivers_know_block_files_while_they_are_open(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        handles = Handles()
        filesystem = filesystem_of(device, handles)
        block = await open_file(filesystem, "zram0", flags=os.O_RDWR | os.O_DIRECT)
        shown = await open_file(filesystem, "sys", "shown", flags=os.O_RDONLY)
        assert handles.disk(block) == (device.disk, os.O_RDWR | os.O_DIRECT)
        assert handles.disk(shown) is None
        for handle in (block, shown):
            await filesystem.release(handle)
        assert handles.disk(block) is None


async def test_requests_of_a_block_file_are_clipped_without_receivers(open_device: OpenDevice) -> None:
    async with open_device(2) as device:
        filesystem = filesystem_of(device)
        handle = await open_file(filesystem, "zram0")
        assert await filesystem.write(handle, PAGE_SIZE, bytes(2 * PAGE_SIZE)) == PAGE_SIZE
        assert await filesystem.read(handle, PAGE_SIZE, 2 * PAGE_SIZE) == bytes(PAGE_SIZE)
        assert await filesystem.read(handle, 2 * PAGE_SIZE, 1) == b""
        assert await errno_of(filesystem.write(handle, 2 * PAGE_SIZE, b"x")) == errno.ENOSPC


async def test_attribute_is_data_up_to_its_end(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        filesystem = filesystem_of(device)
        handle = await open_file(filesystem, "sys", "shown", flags=os.O_RDONLY)
        assert filesystem.seek(handle, 5, os.SEEK_DATA) == 5
        assert filesystem.seek(handle, 5, os.SEEK_HOLE) == PAGE_SIZE
        assert filesystem.seek(handle, PAGE_SIZE, os.SEEK_DATA) is None


async def test_an_attribute_has_no_direct_io(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        filesystem = filesystem_of(device)
        for flags, error in ((os.O_RDONLY, errno.EINVAL), (os.O_WRONLY, errno.EACCES)):
            assert await errno_of(open_file(filesystem, "sys", "shown", flags=flags | os.O_DIRECT)) == error


async def test_new_names_are_refused_as_in_sysfs(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        filesystem = filesystem_of(device)
        root, name = pyfuse3.ROOT_INODE, cast("pyfuse3.FileNameT", b"new")
        regular, fifo = (cast("pyfuse3.ModeT", each) for each in (stat.S_IFREG, stat.S_IFIFO))
        assert await errno_of(filesystem.create(root, name, regular, os.O_WRONLY, CONTEXT)) == errno.EACCES
        assert await errno_of(filesystem.mknod(root, name, regular, 0, CONTEXT)) == errno.EACCES
        assert await errno_of(filesystem.mknod(root, name, fifo, 0, CONTEXT)) == errno.EPERM
        assert await errno_of(filesystem.mkdir(root, name, regular, CONTEXT)) == errno.EPERM


async def test_there_are_no_extended_attributes(open_device: OpenDevice) -> None:
    async with open_device(16) as device:
        assert list(await filesystem_of(device).listxattr(pyfuse3.ROOT_INODE, CONTEXT)) == []


async def test_a_store_that_takes_paths_is_told_the_openers_folder() -> None:
    stored: list[tuple[str, str]] = []

    async def store(text: str, folder: str) -> None:
        stored.append((text, folder))

    async def ignore() -> None:
        pass

    file = AttributeFile(Attribute(mode=0o200, store_at=store), ignore)
    for pid in (os.getpid(), 0):
        opened = file.open(os.O_WRONLY, pid)
        assert await opened.write(0, b"here") == 4
        opened.release()
    assert stored == [("here", str(Path.cwd())), ("here", "")]
