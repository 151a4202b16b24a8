import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from disks import open_lz4_disk
from reads import read, write_disk

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.backends.lz4 import LZ4
from zramfs.block.disk import Disk
from zramfs.block.layer import BlockLayer
from zramfs.device.device import ZramDevice
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig
from zramfs.device.trace import RequestTrace

PAGE = 4096


OpenServer = Callable[..., AbstractAsyncContextManager[BioServer]]
OpenTraced = Callable[..., AbstractAsyncContextManager[ZramDevice]]


@pytest.fixture
def traced_device(open_server: OpenServer) -> OpenTraced:
    """Open a device with an accelerator, whose trace is complete when it is closed."""

    @asynccontextmanager
    async def opening(path: Path, *, receivers: int = 0, **options: int) -> AsyncIterator[ZramDevice]:
        profile = parse_accelerator("poc")
        assert profile is not None
        config = DeviceConfig(backend=LZ4, accelerator=EmulatedAccelerator(profile))
        trace = RequestTrace(path, **options)
        async with open_server(receivers=receivers) as server, trio.open_nursery() as nursery:
            device = ZramDevice("zram0", server=server, nursery=nursery, config=config, trace=trace)
            device.initialise(64 * PAGE)
            yield device
            device.close()
            trace.close()

    return opening


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_trace_tells_each_request_and_the_streams_that_it_took(traced_device: OpenTraced, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    async with traced_device(path) as device:
        await device.write(100, os.urandom(PAGE))
        await device.write(0, os.urandom(48 * PAGE), is_async=True)
        await device.write(0, os.urandom(2 * PAGE))
        await device.write(0, os.urandom(3 * PAGE), is_async=True)
        read(device, 0, 5 * PAGE)
        await device.punch(0, 4 * PAGE)
    assert [(each["op"], each["bytes"] // PAGE, each["async"], each["streams"]) for each in records(path)] == [
        ("write", 1, False, {"percpu": 2}),
        ("write", 48, True, {"managed": 48}),
        ("write", 2, False, {"percpu": 2}),
        ("write", 3, True, {"managed": 3}),
        ("read", 5, False, {}),
        ("discard", 4, False, {}),
    ]
    assert {each["device"] for each in records(path)} == {"zram0"}


async def test_trace_has_times_in_their_order(traced_device: OpenTraced, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    async with traced_device(path) as device:
        for _ in range(20):
            await device.write(0, os.urandom(8 * PAGE), is_async=True)
            await device.write(0, os.urandom(48 * PAGE), is_async=True)
    previous_us = 0.0
    assert len(records(path)) == 40
    for each in records(path):
        assert previous_us <= each["arrival_us"] <= each["submit_us"] <= each["complete_us"] <= each["reply_us"]
        previous_us = each["reply_us"]


async def test_trace_that_cannot_be_written_ends_and_harms_no_request(traced_device: OpenTraced) -> None:
    async with traced_device(Path("/dev/full")) as device:
        for number in range(1000):
            await device.write(0, bytes([number % 256]) * PAGE, is_async=True)
        assert read(device, 0, PAGE) == bytes([999 % 256]) * PAGE
        assert device.statistics.io_stat().failed_writes == 0


async def test_trace_is_written_while_requests_go_on(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    trace = RequestTrace(path, room_records=8)
    disk = Disk("zram7", BlockLayer())
    disk.tracer = trace.tracer("zram7")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trace.serve)
        with open_lz4_disk(disk, 4):
            for _ in range(5):
                for page in range(3):
                    write_disk(disk, page * PAGE, os.urandom(PAGE))
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    trace.close()
    assert [each["op"] for each in records(path)] == ["write"] * 15


async def test_trace_tells_how_many_records_were_lost(traced_device: OpenTraced, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    async with traced_device(path, room_records=8) as device:
        for _ in range(20):
            read(device, 0, PAGE)
    assert [each.get("op", each.get("lost")) for each in records(path)] == ["read"] * 8 + [12]
