from types import SimpleNamespace
from typing import Any

import pytest
import trio

from zramfs.contracts import Attribute, Link
from zramfs.control.block_layer import BlockLayerAttributes
from zramfs.errors import InvalidValue


def uevent_of(block_device: str) -> Attribute:
    device: Any = SimpleNamespace(name="zram5", block_device=block_device)
    uevent = BlockLayerAttributes(device).tree()["uevent"]
    assert isinstance(uevent, Attribute)
    return uevent


@pytest.mark.parametrize(("block_device", "number"), [("0:0", ""), ("7:12", "MAJOR=7\nMINOR=12\n")])
def test_uevent_names_the_block_device_that_there_is(block_device: str, number: str) -> None:
    show = uevent_of(block_device).show
    assert show is not None
    assert show() == f"{number}DEVNAME=zram5\nDEVTYPE=disk\n"


def test_uevent_takes_the_kernels_actions_only() -> None:
    store = uevent_of("0:0").store
    assert store is not None
    for action in ("change\n", "add", "add fe4d7c9d-b8c6-4a70-9ef1-3d8a58d18eed A=1\n"):
        trio.run(store, action)
    for junk in ("", "\n", "chang\n"):
        with pytest.raises(InvalidValue):
            trio.run(store, junk)


def test_subsystem_is_block() -> None:
    device: Any = SimpleNamespace(name="zram0", block_device="0:0")
    assert BlockLayerAttributes(device).tree()["subsystem"] == Link("../../block")


def queue_of(device: Any) -> dict[str, Attribute]:
    queue = BlockLayerAttributes(device).tree()["queue"]
    assert isinstance(queue, dict)
    return {name: each for name, each in queue.items() if isinstance(each, Attribute)}


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("rotational", "7", "1"),
        ("iostats", "0\n", "0"),
        ("nomerges", "2", "2"),
        ("nomerges", "3", "1"),
        ("read_ahead_kb", "67", "64"),
        ("max_sectors_kb", "101", "100"),
        ("max_sectors_kb", "999", "124"),
        ("max_sectors_kb", "0", "124"),
        ("discard_max_bytes", "8192", "8192"),
        ("write_cache", "write back", "write through"),
        ("io_poll_delay", "junk", "-1"),
    ],
)
def test_what_the_queue_is_set_to_is_shown_by_the_kernels_rules(name: str, text: str, shown: str) -> None:
    queue = queue_of(SimpleNamespace())
    store, show = queue[name].store, queue[name].show
    assert store is not None
    assert show is not None
    trio.run(store, text)
    assert show() == f"{shown}\n"
    assert queue[name].mode == 0o644


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rotational", "x"),
        ("rotational", "-1"),
        ("rotational", "4294967296"),
        ("max_sectors_kb", "3"),
        ("discard_max_bytes", "4095"),
        ("discard_max_bytes", "2199023259136"),
        ("write_cache", "write"),
        ("write_zeroes_unmap_max_bytes", "4096"),
        ("io_poll", "0"),
    ],
)
def test_what_the_kernel_refuses_of_the_queue_is_einval(name: str, text: str) -> None:
    queue = queue_of(SimpleNamespace())
    store, show = queue[name].store, queue[name].show
    assert store is not None
    assert show is not None
    before = show()
    with pytest.raises(InvalidValue):
        trio.run(store, text)
    assert show() == before


def test_devices_have_queues_of_their_own() -> None:
    first, second = queue_of(SimpleNamespace()), queue_of(SimpleNamespace())
    assert first["rotational"].store is not None
    trio.run(first["rotational"].store, "1")
    assert [each["rotational"].show and each["rotational"].show() for each in (first, second)] == ["1\n", "0\n"]
