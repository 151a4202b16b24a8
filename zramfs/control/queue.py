"""The queue of a disk (Documentation/ABI/stable/sysfs-block), with the values of the kernel's zram.

There is no queue: what scripts and udev's rules set is taken by the kernel's rules and shown, and changes nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from zramfs.contracts import Attribute, ControlTree
from zramfs.control.modes import READ_ONLY, READ_WRITE
from zramfs.control.values import parse_within
from zramfs.errors import InvalidValue
from zramfs.units import PAGE_SIZE, SECTOR_SIZE

_U32_MAX: Final = (1 << 32) - 1
_PAGE_KB: Final = PAGE_SIZE >> 10
_MOST_SECTORS_KB: Final = 124
_MOST_DISCARDED: Final = _U32_MAX * SECTOR_SIZE

_FIXED: Final[dict[str, int | str]] = {
    "atomic_write_boundary_bytes": 0,
    "atomic_write_max_bytes": 0,
    "atomic_write_unit_max_bytes": 0,
    "atomic_write_unit_min_bytes": 0,
    "chunk_sectors": 0,
    "dax": 0,
    "discard_granularity": PAGE_SIZE,
    "discard_max_hw_bytes": _MOST_DISCARDED,
    "discard_zeroes_data": 0,
    "dma_alignment": 511,
    "fua": 0,
    "hw_sector_size": PAGE_SIZE,
    "logical_block_size": PAGE_SIZE,
    "max_discard_segments": 1,
    "max_hw_sectors_kb": _MOST_SECTORS_KB,
    "max_integrity_segments": 0,
    "max_segment_size": 65536,
    "max_segments": 128,
    "max_write_streams": 0,
    "minimum_io_size": PAGE_SIZE,
    "nr_zones": 0,
    "optimal_io_size": PAGE_SIZE,
    "physical_block_size": PAGE_SIZE,
    "virt_boundary_mask": 0,
    "write_same_max_bytes": 0,
    "write_stream_granularity": 0,
    "write_zeroes_max_bytes": _MOST_DISCARDED,
    "write_zeroes_unmap_max_hw_bytes": 0,
    "zone_append_max_bytes": 0,
    "zone_write_granularity": 0,
    "zoned": "none",
}


def _number(text: str) -> int:
    """queue_var_store(): a u32; EINVAL whatever is wrong."""
    return parse_within(text, _U32_MAX)


def _flag(text: str) -> int:
    return int(_number(text) != 0)


def _merging(text: str) -> int:
    """queue_nomerges_store(): bit 1 counts for more than the others."""
    number = _number(text)
    return 2 if number == 2 else int(number != 0)


def _read_ahead_kb(text: str) -> int:
    """queue_ra_store(): whole pages."""
    return _number(text) // _PAGE_KB * _PAGE_KB


def _max_sectors_kb(text: str) -> int:
    """queue_max_sectors_store(): whole pages, at most what the hardware takes; 0 is the default."""
    number = _number(text) or _MOST_SECTORS_KB
    if number < _PAGE_KB:
        raise InvalidValue(f"{number} KiB are less than a page")
    return min(number, _MOST_SECTORS_KB) // _PAGE_KB * _PAGE_KB


def _discarded_bytes(text: str) -> int:
    """queue_max_discard_sectors_store(): a multiple of the granularity."""
    number = parse_within(text, _MOST_DISCARDED)
    if number % PAGE_SIZE:
        raise InvalidValue(f"{number} is no multiple of {PAGE_SIZE}")
    return number


def _write_cache(text: str) -> str:
    """queue_wc_store(): the begin counts, and a disk without a cache writes through, whatever is wanted."""
    if not text.startswith(("write back", "write through", "none")):
        raise InvalidValue(f"{text!r} is no kind of write cache")
    return "write through"


def _nothing_but_zero(text: str) -> int:
    """queue_max_wzeroes_unmap_sectors_store(): what the hardware has is 0."""
    return parse_within(text, 0)


def _no_polling(text: str) -> int:
    """queue_poll_store(): a disk without queues of requests cannot be polled."""
    raise InvalidValue(f"{text!r}: there is nothing to poll")


def _ignored(_text: str) -> int:
    """queue_poll_delay_store(): takes anything."""
    return -1


_SETTABLE: Final[dict[str, tuple[int | str, Callable[[str], int | str]]]] = {
    "add_random": (0, _flag),
    "discard_max_bytes": (_MOST_DISCARDED, _discarded_bytes),
    "io_poll": (0, _no_polling),
    "io_poll_delay": (-1, _ignored),
    "iostats": (1, _flag),
    "iostats_passthrough": (0, _flag),
    "max_sectors_kb": (_MOST_SECTORS_KB, _max_sectors_kb),
    "nomerges": (0, _merging),
    "read_ahead_kb": (128, _read_ahead_kb),
    "rotational": (0, _flag),
    "stable_writes": (1, _flag),
    "write_cache": ("write through", _write_cache),
    "write_zeroes_unmap_max_bytes": (0, _nothing_but_zero),
}
"""What each shows at first, and how it reads what it is set to."""


class QueueAttributes:
    """The folder `queue` of one device; as the kernel's, it outlives a reset."""

    def __init__(self) -> None:
        self._values = {name: value for name, (value, _) in _SETTABLE.items()}

    def tree(self) -> ControlTree:
        """Return the folder's files."""
        settable = {
            name: Attribute(mode=READ_WRITE, show=partial(self._show, name), store=partial(self._store, name, parse))
            for name, (_, parse) in _SETTABLE.items()
        }
        return {**settable, **constants(_FIXED)}

    def _show(self, name: str) -> str:
        return f"{self._values[name]}\n"

    async def _store(self, name: str, parse: Callable[[str], int | str], text: str) -> None:
        self._values[name] = parse(text)


def constants(values: dict[str, int | str]) -> dict[str, Attribute]:
    """Files that show a value which never changes."""
    return {name: Attribute(mode=READ_ONLY, show=partial("{}\n".format, value)) for name, value in values.items()}
