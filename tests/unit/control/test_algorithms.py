"""comp_algorithm, recomp_algorithm and algorithm_params: what they take, and what they show."""

import errno
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio

from zramfs.abi import ABIS, NEWEST, ZRAM_6_18, ZRAM_7_3, ZramAbi
from zramfs.backends.lz4 import LZ4
from zramfs.block.layer import BlockLayer
from zramfs.contracts import AlgorithmParams
from zramfs.control.algorithms import AlgorithmAttributes
from zramfs.device.device import ZramDevice
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig
from zramfs.errors import ZramError

MakeDevice = Callable[..., ZramDevice]


@pytest.fixture
async def make_device(nursery: trio.Nursery) -> MakeDevice:
    def make(abi: ZramAbi = NEWEST) -> ZramDevice:
        config = DeviceConfig(backend=LZ4, accelerator=None, abi=abi)
        return ZramDevice("zram0", server=BioServer(BlockLayer()), nursery=nursery, config=config)

    return make


@pytest.fixture
async def device(make_device: MakeDevice) -> ZramDevice:
    return make_device()


@pytest.fixture
def attributes(device: ZramDevice) -> AlgorithmAttributes:
    return AlgorithmAttributes(device)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("level", errno.EINVAL),
        ("level=", errno.EINVAL),
        ("level=x", errno.EINVAL),
        ("level=1x", errno.EINVAL),
        ("level=99999999999", errno.ERANGE),
        ("deflate.winbits=x", errno.EINVAL),
        ("priority=9", errno.EINVAL),
        ("priority=-1", errno.EINVAL),
        ("algo=zlib level=1", errno.EINVAL),
        ("algo=lz4 level=1 =", errno.EINVAL),
        ("dict=/nonexistent", errno.EINVAL),
        ("dict=/", errno.EINVAL),
        ("dict=/dev/zero", errno.EINVAL),
        ("dict=/dev/null", errno.EINVAL),
        ("dict=/proc/version", errno.EINVAL),
        ("dict=a\0b", errno.EINVAL),
    ],
)
async def test_algorithm_params_refuses(attributes: AlgorithmAttributes, text: str, error: int) -> None:
    with pytest.raises(ZramError) as raised:
        await attributes.store_algorithm_params(text)
    assert raised.value.errno == error


@pytest.mark.parametrize(
    ("text", "priority", "params"),
    [
        ("algo=lz4 level=7\n", 0, AlgorithmParams(level=7)),
        ("level=-3", 0, AlgorithmParams(level=-3)),
        ("priority=2 level=+3 deflate.winbits=-9", 2, AlgorithmParams(level=3, winbits=-9)),
        ("priority=0 algo=lz4 level=1", 0, AlgorithmParams(level=1)),
        ("level=1 level=2", 0, AlgorithmParams(level=2)),
        ('algo="lz4" level="5"', 0, AlgorithmParams(level=5)),
        ("bogus=1", 0, AlgorithmParams()),
        ("", 0, AlgorithmParams()),
    ],
)
async def test_algorithm_params_takes(
    device: ZramDevice, attributes: AlgorithmAttributes, text: str, priority: int, params: AlgorithmParams
) -> None:
    await attributes.store_algorithm_params(text)
    assert device.settings.algorithms.params(priority) == params


async def test_algorithm_params_replaces_all_that_was_set(device: ZramDevice, attributes: AlgorithmAttributes) -> None:
    await attributes.store_algorithm_params("level=7")
    await attributes.store_algorithm_params("deflate.winbits=-9")
    assert device.settings.algorithms.params(0) == AlgorithmParams(winbits=-9)


async def test_algorithm_params_reads_the_dictionary(
    device: ZramDevice, attributes: AlgorithmAttributes, tmp_path: Path
) -> None:
    path = tmp_path / "of words"
    path.write_bytes(b"zspage doorbell")
    await attributes.store_algorithm_params(f'dict="{path}"')
    assert device.settings.algorithms.params(0).dictionary == b"zspage doorbell"
    assert device.settings.algorithms.params(0).dictionary_path == str(path)


async def test_a_relative_dictionary_is_taken_from_the_writers_folder(
    device: ZramDevice, attributes: AlgorithmAttributes, tmp_path: Path
) -> None:
    (tmp_path / "words").write_bytes(b"zspage doorbell")
    await attributes.store_algorithm_params("dict=./words", str(tmp_path))
    assert device.settings.algorithms.params(0).dictionary == b"zspage doorbell"
    with pytest.raises(ZramError) as raised:
        await attributes.store_algorithm_params("dict=words")
    assert raised.value.errno == errno.EINVAL


async def test_algorithm_stat_writes_any_path_in_one_line(
    device: ZramDevice, attributes: AlgorithmAttributes, tmp_path: Path
) -> None:
    path = os.fsencode(tmp_path) + b"/\xc3\xa4\xff\n\x1bb"
    await trio.Path(os.fsdecode(path)).write_bytes(b"words")
    await attributes.store_algorithm_params(f'level=2 dict="{path.decode("latin-1")}"')
    assert device.settings.algorithms.params(0).dictionary == b"words"
    assert attributes.show_algorithm_stat() == f"0 lz4 level=2 dict={tmp_path}/\u00e4\\udcff\\n\\x1bb\n"


async def test_algorithm_params_does_not_wait_for_a_pipe(attributes: AlgorithmAttributes, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ZramError):
        await attributes.store_algorithm_params(f"dict={tmp_path}/pipe")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", errno.EINVAL),
        ("lz4", errno.EINVAL),
        ("priority=1", errno.EINVAL),
        ("algo=lz4 priority=0", errno.EINVAL),
        ("algo=lz4 priority=4", errno.EINVAL),
        ("algo=lz4 priority=x", errno.EINVAL),
        ("algo=nope", errno.EINVAL),
        ("algo=" + "x" * 128, errno.E2BIG),
    ],
)
async def test_recomp_algorithm_refuses(attributes: AlgorithmAttributes, text: str, error: int) -> None:
    with pytest.raises(ZramError) as raised:
        await attributes.store_recomp_algorithm(text)
    assert raised.value.errno == error
    assert attributes.show_recomp_algorithm() == ""


async def test_recomp_algorithm_shows_a_line_for_each_priority(attributes: AlgorithmAttributes) -> None:
    await attributes.store_recomp_algorithm("algo=lz4 priority=3\n")
    await attributes.store_recomp_algorithm("algo=lz4")
    choices = attributes.show_comp_algorithm()
    assert attributes.show_recomp_algorithm() == f"#1: {choices}#3: {choices}"


async def test_algorithms_of_an_initialised_device_are_busy(
    open_device: Callable[..., AbstractAsyncContextManager[ZramDevice]],
) -> None:
    async with open_device(1) as device:
        attributes = AlgorithmAttributes(device)
        for store, text in (
            (attributes.store_comp_algorithm, "lz4"),
            (attributes.store_recomp_algorithm, "algo=lz4"),
        ):
            with pytest.raises(ZramError) as raised:
                await store(text)
            assert raised.value.errno == errno.EBUSY


async def test_algorithm_params_of_an_initialised_device_are_busy_since_7_1(
    open_device: Callable[..., AbstractAsyncContextManager[ZramDevice]],
) -> None:
    async with open_device(1, abi=ZRAM_7_3) as device:
        attributes = AlgorithmAttributes(device)
        for text, error in (
            ("level=x", errno.EINVAL),
            ("level=9", errno.EBUSY),
            ("algo=nope", errno.EBUSY),
            ("priority=9", errno.EBUSY),
            ("dict=/nonexistent", errno.EBUSY),
        ):
            with pytest.raises(ZramError) as raised:
                await attributes.store_algorithm_params(text)
            assert raised.value.errno == error, text


async def test_algorithm_params_of_an_initialised_device_are_taken_but_not_used_until_7_1(
    open_device: Callable[..., AbstractAsyncContextManager[ZramDevice]],
) -> None:
    async with open_device(1, abi=ZRAM_6_18) as device:
        attributes = AlgorithmAttributes(device)
        await attributes.store_algorithm_params("level=9")
        assert attributes.show_algorithm_stat() == "0 lz4 level=1\n"


async def test_algo_and_priority_must_agree_since_7_1(make_device: MakeDevice) -> None:
    text = "priority=2 algo=lz4 level=5"
    before, after = make_device(ZRAM_6_18), make_device(ZRAM_7_3)
    await AlgorithmAttributes(before).store_algorithm_params(text)
    assert before.settings.algorithms.params(0) == AlgorithmParams(level=5)
    with pytest.raises(ZramError) as raised:
        await AlgorithmAttributes(after).store_algorithm_params(text)
    assert raised.value.errno == errno.EINVAL
    await AlgorithmAttributes(after).store_recomp_algorithm("algo=lz4 priority=2")
    await AlgorithmAttributes(after).store_algorithm_params(text)
    assert after.settings.algorithms.params(2) == AlgorithmParams(level=5)


@pytest.mark.parametrize("abi", ABIS.values(), ids=ABIS)
async def test_parameters_go_with_the_algorithm_since_7_3(make_device: MakeDevice, abi: ZramAbi) -> None:
    device = make_device(abi)
    attributes = AlgorithmAttributes(device)
    for priority, choose in ((0, attributes.store_comp_algorithm), (1, attributes.store_recomp_algorithm)):
        await attributes.store_algorithm_params(f"priority={priority} level=7")
        await choose("lz4" if priority == 0 else "algo=lz4")
        expected = AlgorithmParams() if abi is ZRAM_7_3 else AlgorithmParams(level=7)
        assert device.settings.algorithms.params(priority) == expected


async def test_an_empty_dictionary_is_refused(attributes: AlgorithmAttributes, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ZramError) as raised:
        await attributes.store_algorithm_params(f"dict={tmp_path}/empty")
    assert raised.value.errno == errno.EINVAL


async def test_algorithm_stat_shows_what_was_asked_for_until_the_device_is_initialised(
    device: ZramDevice, attributes: AlgorithmAttributes
) -> None:
    await attributes.store_recomp_algorithm("algo=lz4 priority=2")
    await attributes.store_algorithm_params("priority=2 level=9")
    assert attributes.show_algorithm_stat() == "0 lz4\n2 lz4 level=9\n"
    device.initialise(4096)
    assert attributes.show_algorithm_stat() == "0 lz4 level=1\n2 lz4 level=9\n"
    device.reset()
    assert attributes.show_algorithm_stat() == "0 lz4\n"
