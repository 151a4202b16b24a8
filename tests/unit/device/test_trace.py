import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from reads import read

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.backends.lz4 import LZ4
from zramfs.bio import WriteBio
from zramfs.device.device import DeviceConfig, ZramDevice
from zramfs.device.page_write import write_later
from zramfs.device.trace import RequestTrace

PAGE = 4096


@asynccontextmanager
async def traced_device(path: Path) -> AsyncIterator[ZramDevice]:
    profile = parse_accelerator("poc")
    assert profile is not None
    config = DeviceConfig(backend=LZ4, accelerator=EmulatedAccelerator(profile))
    trace = RequestTrace(path)
    async with trio.open_nursery() as nursery:
        device = ZramDevice("zram0", nursery=nursery, config=config, trace=trace)
        device.initialise(64 * PAGE)
        yield device
        device.close()
        trace.close()


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_trace_tells_each_request_and_the_streams_that_it_took(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    async with traced_device(path) as device:
        await device.write(WriteBio(100, os.urandom(PAGE), is_async=False))
        await device.write(WriteBio(0, os.urandom(8 * PAGE), is_async=True))
        assert device.store is not None
        assert device.store.write_nowait(WriteBio(0, os.urandom(2 * PAGE), is_async=False))
        done = trio.Event()
        write_later(device.store, WriteBio(0, os.urandom(3 * PAGE), is_async=True), lambda _: done.set())
        await done.wait()
        read(device, 0, 5 * PAGE)
        await device.discard(0, 4 * PAGE)
    assert [(each["op"], each["bytes"] // PAGE, each["async"], each["streams"]) for each in records(path)] == [
        ("write", 1, False, {"percpu": 2}),
        ("write", 8, True, {"managed": 8}),
        ("write", 2, False, {"percpu": 2}),
        ("write", 3, True, {"managed": 3}),
        ("read", 5, False, {}),
        ("discard", 4, False, {}),
    ]


async def test_trace_has_times_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    async with traced_device(path) as device:
        for _ in range(20):
            await device.write(WriteBio(0, os.urandom(8 * PAGE), is_async=True))
    previous_us = 0.0
    for each in records(path):
        assert previous_us <= each["arrival_us"] <= each["submit_us"] <= each["complete_us"] <= each["reply_us"]
        previous_us = each["reply_us"]


async def test_trace_that_cannot_be_written_ends_and_harms_no_request() -> None:
    async with traced_device(Path("/dev/full")) as device:
        for number in range(1000):
            await device.write(WriteBio(0, bytes([number % 256]) * PAGE, is_async=True))
        assert read(device, 0, PAGE) == bytes([999 % 256]) * PAGE
        assert device.io_stat().failed_writes == 0
