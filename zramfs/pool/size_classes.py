"""zsmalloc's size classes, computed by the rules of mm/zsmalloc.c for 4 KiB pages and chain size 8.

`zspool` takes its table from here; FACTS of the kernel's behaviour are tested against it.
"""

from dataclasses import dataclass
from typing import Final

from zramfs.units import PAGE_SIZE

HANDLE_BYTES: Final = 8
"""Each object of a class that is not huge begins with this many bytes of handle (ZS_HANDLE_SIZE)."""

_MIN_CLASS_BYTES: Final = 32  # ZS_MIN_ALLOC_SIZE
_CLASS_STEP_BYTES: Final = 16  # ZS_SIZE_CLASS_DELTA
_MAX_PAGES_PER_ZSPAGE: Final = 8  # CONFIG_ZSMALLOC_CHAIN_SIZE


@dataclass(frozen=True, slots=True)
class SizeClass:
    """Objects of up to `object_bytes` (handle included), `objects_per_zspage` in `pages_per_zspage` pages."""

    object_bytes: int
    pages_per_zspage: int
    objects_per_zspage: int

    @property
    def is_huge(self) -> bool:
        """One object a page: it needs no handle, because it never moves."""
        return self.objects_per_zspage == 1


def _pages_with_least_waste(object_bytes: int) -> int:
    """How many pages a zspage has (calculate_zspage_chain_size): the fewest among those that waste least."""
    if object_bytes & (object_bytes - 1) == 0:
        return 1
    return min(range(1, _MAX_PAGES_PER_ZSPAGE + 1), key=lambda pages: pages * PAGE_SIZE % object_bytes)


def _class_of_size(object_bytes: int) -> SizeClass:
    pages = _pages_with_least_waste(object_bytes)
    return SizeClass(object_bytes, pages, pages * PAGE_SIZE // object_bytes)


def _merged_classes() -> tuple[SizeClass, ...]:
    """One entry per 16-byte step; classes of equal geometry share the largest one's entry (can_merge)."""
    merged: list[SizeClass] = []
    for object_bytes in range(PAGE_SIZE, _MIN_CLASS_BYTES - 1, -_CLASS_STEP_BYTES):
        size_class = _class_of_size(object_bytes)
        larger = merged[-1] if merged else size_class
        same_geometry = (larger.pages_per_zspage, larger.objects_per_zspage) == (
            size_class.pages_per_zspage,
            size_class.objects_per_zspage,
        )
        merged.append(larger if same_geometry else size_class)
    return tuple(reversed(merged))


SIZE_CLASSES: Final = _merged_classes()
"""Indexed by 16-byte step from 32 bytes; neighbouring steps may hold the same class."""

HUGE_CLASS_BYTES: Final = (
    max(size_class.object_bytes for size_class in SIZE_CLASSES if not size_class.is_huge) - HANDLE_BYTES + 1
)
"""A compressed page of this many bytes or more is stored raw (zs_huge_class_size(): 3625)."""


def class_index(payload_bytes: int) -> int:
    """Return the index in `SIZE_CLASSES` for an object of `payload_bytes`, 1 to 4096 (get_size_class_index).

    For tests: `zspool.pyx` has the pool's own.
    """
    steps = -(-(payload_bytes + HANDLE_BYTES - _MIN_CLASS_BYTES) // _CLASS_STEP_BYTES)
    return min(max(steps, 0), len(SIZE_CLASSES) - 1)
