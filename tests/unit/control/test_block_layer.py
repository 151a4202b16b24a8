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
