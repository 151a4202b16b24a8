from collections.abc import Callable

import pytest

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.backends.lz4 import LZ4
from zramfs.contracts import AlgorithmParams


@pytest.mark.parametrize(("level", "used"), [(0, 1), (-1, 1), (65538, 65537)])
def test_a_level_that_is_no_acceleration_is_the_nearest(level: int, used: int) -> None:
    params = LZ4.setup_params(AlgorithmParams(level=level), accelerator=None)
    assert LZ4.create_context(params).acceleration == params.level == used


def test_the_default_level_is_the_kernels() -> None:
    assert LZ4.create_context(LZ4.setup_params(AlgorithmParams(), accelerator=None)).acceleration == 1


def test_with_a_dictionary_streams_are_per_cpu_only() -> None:
    profile = parse_accelerator("ideal")
    assert profile is not None
    params = LZ4.setup_params(AlgorithmParams(dictionary=b"words"), accelerator=EmulatedAccelerator(profile))
    assert not params.zstrm_mgmt
    assert params.manager_error == "the accelerator takes no dictionary"


def test_a_higher_level_compresses_less(compressible_pages: Callable[..., bytes]) -> None:
    page = compressible_pages(1)
    lengths = [
        len(LZ4.create_context(LZ4.setup_params(AlgorithmParams(level=level), accelerator=None)).compress(page))
        for level in (1, 50, 65537)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[2]
