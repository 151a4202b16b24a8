"""The algorithms of a device, chosen and set up."""

import pytest
import trio

from zramfs.backends.lz4 import LZ4
from zramfs.block.layer import BlockLayer
from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, BackendParams
from zramfs.device.algorithms import Algorithms
from zramfs.device.device import ZramDevice
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig
from zramfs.errors import DeviceBusy, InvalidValue

PAGE = 4096


class CountingBackend(Backend):
    """Counts what is set up and not released; refuses level 13."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.set_up = 0

    def setup_params(self, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        assert accelerator is None
        if requested.level == 13:
            raise InvalidValue("13 is unlucky")
        self.set_up += 1
        return BackendParams(algorithm=requested)

    def release_params(self, params: BackendParams) -> None:
        del params
        self.set_up -= 1

    def create_context(self, params: BackendParams) -> PageCodec:
        if params.algorithm.level == 14:
            raise MemoryError
        return FunctionCodec(lambda page: page[:8], lambda data: data * 512)


def uninitialised(nursery: trio.Nursery) -> ZramDevice:
    server = BioServer(BlockLayer())
    return ZramDevice("zram0", server=server, nursery=nursery, config=DeviceConfig(backend=LZ4, accelerator=None))


def test_algorithms_begin_with_the_primary_one_alone() -> None:
    algorithms = Algorithms(LZ4)
    assert algorithms.backends == {0: LZ4}
    assert algorithms.params(0) == AlgorithmParams()
    assert repr(algorithms) == "<Algorithms #0: lz4>"


def test_algorithms_come_in_the_order_of_their_priorities() -> None:
    algorithms = Algorithms(LZ4)
    algorithms.choose(3, CountingBackend("third"))
    algorithms.choose(1, CountingBackend("first"))
    assert [backend.name for backend in algorithms.backends.values()] == ["lz4", "first", "third"]


def test_algorithms_are_found_by_name_at_their_first_priority() -> None:
    algorithms = Algorithms(LZ4)
    algorithms.choose(2, CountingBackend("twice"))
    algorithms.choose(1, CountingBackend("twice"))
    assert algorithms.priority_of("twice") == 1
    with pytest.raises(InvalidValue, match="'zlib' is not an algorithm of this device"):
        algorithms.priority_of("zlib")


@pytest.mark.parametrize("priority", [-1, 4])
def test_algorithms_have_priorities_from_0_to_3(priority: int) -> None:
    algorithms = Algorithms(LZ4)
    with pytest.raises(InvalidValue, match=f"{priority} is not a priority from 0 to 3"):
        algorithms.choose(priority, LZ4)
    with pytest.raises(InvalidValue, match="not a priority"):
        algorithms.set_params(priority, AlgorithmParams())


def test_parameters_stay_with_the_priority() -> None:
    algorithms = Algorithms(LZ4)
    algorithms.set_params(1, AlgorithmParams(level=5))
    algorithms.choose(1, LZ4)
    assert algorithms.params(1).level == 5


def test_reset_forgets_secondary_algorithms_and_parameters() -> None:
    algorithms = Algorithms(LZ4)
    algorithms.choose(0, CountingBackend("other"))
    algorithms.choose(1, CountingBackend("first"))
    algorithms.set_params(0, AlgorithmParams(level=5))
    algorithms.reset()
    assert algorithms.backends == {0: LZ4}
    assert algorithms.params(0) == AlgorithmParams()


def test_secondaries_are_set_up_all_or_none() -> None:
    algorithms = Algorithms(LZ4)
    backends = [CountingBackend(f"number {priority}") for priority in (1, 2)]
    for priority, backend in enumerate(backends, start=1):
        algorithms.choose(priority, backend)
    algorithms.set_params(2, AlgorithmParams(level=13))
    with pytest.raises(InvalidValue, match="unlucky"):
        algorithms.activate_secondaries()
    algorithms.set_params(2, AlgorithmParams(level=14))
    with pytest.raises(MemoryError):
        algorithms.activate_secondaries()
    assert [backend.set_up for backend in backends] == [0, 0]


async def test_a_device_sets_its_algorithms_up_and_releases_them(nursery: trio.Nursery) -> None:
    device = uninitialised(nursery)
    secondary = CountingBackend("secondary")
    device.settings.set_backend(secondary, 2)
    assert device.active_algorithms == {}
    device.initialise(PAGE)
    assert list(device.active_algorithms) == [0, 2]
    assert device.active_algorithms[0].params.algorithm == AlgorithmParams(level=1)
    active = device.active_algorithms[2]
    page = b"8 bytes." * 512
    assert active.create_codec().decompress(active.codec.compress(page)) == page
    assert secondary.set_up == 1
    device.reset()
    assert secondary.set_up == 0
    assert device.active_algorithms == {}


async def test_a_primary_algorithm_that_fails_leaves_no_secondary_set_up(nursery: trio.Nursery) -> None:
    device = uninitialised(nursery)
    secondary = CountingBackend("secondary")
    device.settings.set_backend(secondary, 1)
    device.settings.set_backend(CountingBackend("primary"), 0)
    device.settings.algorithms.set_params(0, AlgorithmParams(level=13))
    with pytest.raises(InvalidValue):
        device.initialise(PAGE)
    assert secondary.set_up == 0
    assert not device.is_initialised


async def test_an_initialised_device_keeps_its_algorithms(nursery: trio.Nursery) -> None:
    device = uninitialised(nursery)
    device.initialise(PAGE)
    with pytest.raises(DeviceBusy):
        device.settings.set_backend(CountingBackend("late"), 1)
    device.close()
