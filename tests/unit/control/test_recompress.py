from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

import pytest

from zramfs.abi import ABIS, ZRAM_6_18, ZRAM_7_3, ZramAbi
from zramfs.backends.lz4 import LZ4, Lz4Backend
from zramfs.contracts import Backend
from zramfs.control.recompress import RecompressAttributes, _one_priority, _priorities
from zramfs.device.device import ZramDevice
from zramfs.errors import InvalidValue, ValueOutOfRange

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]


class Other(Lz4Backend):
    name = "other"


BOTH: Mapping[int, Backend] = {1: LZ4, 2: Other()}


@pytest.mark.parametrize(
    ("chosen", "name", "priorities"),
    [(None, None, (1, 3)), (0, None, (1, 2)), (2, None, (2, 3)), (None, "other", (2, 3)), (1, "lz4", (1, 2))],
)
def test_until_7_1_priorities_are_a_range(chosen: int | None, name: str | None, priorities: tuple[int, int]) -> None:
    assert _priorities(BOTH, chosen, name) == priorities


@pytest.mark.parametrize(
    ("chosen", "name", "priorities"),
    [(None, None, (1, 2)), (2, None, (2, 3)), (None, "other", (2, 3)), (1, "lz4", (1, 2)), (2, "other", (2, 3))],
)
def test_since_7_1_there_is_one_priority(chosen: int | None, name: str | None, priorities: tuple[int, int]) -> None:
    assert _one_priority(BOTH, chosen, name) == priorities


@pytest.mark.parametrize(("chosen", "name"), [(3, None), (None, "zstd"), (2, "lz4")])
def test_an_algorithm_that_is_not_configured_is_einval(chosen: int | None, name: str | None) -> None:
    for priorities in (_priorities, _one_priority):
        with pytest.raises(InvalidValue):
            priorities(BOTH, chosen, name)


@pytest.mark.parametrize(("chosen", "name"), [(0, None), (1, "other")])
def test_since_7_1_a_wrong_priority_is_not_corrected(chosen: int, name: str | None) -> None:
    assert _priorities(BOTH, chosen, name)
    with pytest.raises(InvalidValue):
        _one_priority(BOTH, chosen, name)


def test_since_7_1_the_first_algorithm_is_not_any() -> None:
    with pytest.raises(InvalidValue):
        _one_priority({2: Other()}, None, None)


@pytest.mark.parametrize("abi", ABIS.values(), ids=ABIS)
@pytest.mark.parametrize("text", ["", "type=idle\n", "bogus=1", "threshold=3624 max_pages=5 priority=1 algo=lz4"])
async def test_recompress_takes_what_the_kernel_takes(open_device: OpenDevice, text: str, abi: ZramAbi) -> None:
    async with open_device(4, secondaries=BOTH, abi=abi) as device:
        await RecompressAttributes(device).store_recompress(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("idle", InvalidValue),
        ("type=", InvalidValue),
        ("threshold=3625", InvalidValue),
        ("threshold=x", InvalidValue),
        ("max_pages=-1", InvalidValue),
        ("priority=9", InvalidValue),
        ("algo=zstd", InvalidValue),
        ("threshold=4294967296", ValueOutOfRange),
    ],
)
async def test_what_recompress_cannot_read_is_refused(
    open_device: OpenDevice, text: str, error: type[Exception]
) -> None:
    async with open_device(4, secondaries=BOTH) as device:
        with pytest.raises(error) as raised:
            await RecompressAttributes(device).store_recompress(text)
        assert type(raised.value) is error


async def test_without_secondary_algorithms_recompress_is_einval(open_device: OpenDevice) -> None:
    async with open_device(4) as device:
        with pytest.raises(InvalidValue):
            await RecompressAttributes(device).store_recompress("type=idle")


async def test_an_unknown_type_is_einval_since_7_1(open_device: OpenDevice) -> None:
    async with open_device(4, secondaries=BOTH, abi=ZRAM_6_18) as device:
        await RecompressAttributes(device).store_recompress("type=bogus")
    async with open_device(4, secondaries=BOTH, abi=ZRAM_7_3) as device:
        with pytest.raises(InvalidValue):
            await RecompressAttributes(device).store_recompress("type=bogus")
