"""Memory that is sized for the worst case, and used in part."""

from collections.abc import Callable

import pytest
from zramfs.memory import LazyMemory

GIB = 1 << 30


def test_memory_costs_address_space_and_nothing_without_touching(resident_bytes: Callable[[], int]) -> None:
    before = resident_bytes()
    rooms = [LazyMemory(4 * GIB) for _ in range(4)]
    assert resident_bytes() - before < 4 << 20
    assert repr(rooms[0]) == f"<LazyMemory {4 * GIB} bytes>"


def test_address_space_is_given_back_with_it() -> None:
    for _ in range(200):  # 200 TiB: more than there is
        LazyMemory(1024 * GIB)


@pytest.mark.parametrize("size_bytes", [1 << 62, 0])
def test_memory_that_cannot_be_had_is_an_error(size_bytes: int) -> None:
    with pytest.raises(MemoryError, match=f"no address space for {size_bytes} bytes"):
        LazyMemory(size_bytes)
