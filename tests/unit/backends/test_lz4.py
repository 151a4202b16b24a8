from collections.abc import Callable

import pytest

from zramfs.backends.lz4 import LZ4
from zramfs.contracts import AlgorithmParams
from zramfs.errors import InvalidValue


@pytest.mark.parametrize("level", [0, -1, 65538])
def test_a_level_that_is_no_acceleration_is_refused(level: int) -> None:
    with pytest.raises(InvalidValue, match=f"lz4 has no level {level}, but 1 to 65537"):
        LZ4.setup_params(AlgorithmParams(level=level), accelerator=None)


def test_the_default_level_is_the_kernels() -> None:
    assert LZ4.create_context(LZ4.setup_params(AlgorithmParams(), accelerator=None)).acceleration == 1


def test_a_higher_level_compresses_less(compressible_pages: Callable[..., bytes]) -> None:
    page = compressible_pages(1)
    lengths = [
        len(LZ4.create_context(LZ4.setup_params(AlgorithmParams(level=level), accelerator=None)).compress(page))
        for level in (1, 50, 65537)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[2]
