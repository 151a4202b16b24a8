"""The backing device of a device, and what is written back to it."""

from typing import Final

from zramfs.contracts import Attribute, ControlTree, Link
from zramfs.control.modes import READ_ONLY, READ_WRITE, WRITE_ONLY
from zramfs.control.values import parse_bool, parse_parameters, parse_path, parse_unsigned, parse_within
from zramfs.device.device import ZramDevice
from zramfs.device.writeback import Selection
from zramfs.errors import InvalidValue, NoBackingDevice, NotInitialised, ValueOutOfRange
from zramfs.suggestions import did_you_mean
from zramfs.units import PAGE_SIZE

_U32_MAX: Final = (1 << 32) - 1
_U64_MAX: Final = (1 << 64) - 1

_MODES: Final = {
    "idle": {"idle": True},
    "huge": {"huge": True},
    "huge_idle": {"idle": True, "huge": True},
    "incompressible": {"incompressible": True},
}
"""What a page must be, by the name of the mode (parse_mode)."""


class WritebackAttributes:
    """Where pages are written back to, which, how many, and how many it were."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device
        self._writeback = device.writeback

    def tree(self) -> ControlTree:
        """Return the family's files."""
        tree: dict[str, Attribute | Link | ControlTree] = {
            "backing_dev": Attribute(mode=READ_WRITE, show=self.show_backing_dev, store_at=self.store_backing_dev),
            "writeback": Attribute(mode=WRITE_ONLY, store=self.store_writeback),
            "writeback_limit": Attribute(
                mode=READ_WRITE, show=lambda: f"{self._writeback.limit_pages}\n", store=self.store_limit
            ),
            "writeback_limit_enable": Attribute(
                mode=READ_WRITE, show=lambda: f"{self._writeback.is_limited:d}\n", store=self.store_limit_enable
            ),
            "bd_stat": Attribute(mode=READ_ONLY, show=self.show_bd_stat),
        }
        if self._device.settings.abi.has_batch_size:
            tree["writeback_batch_size"] = Attribute(
                mode=READ_WRITE, show=lambda: f"{self._writeback.batch_pages}\n", store=self.store_batch_size
            )
        if self._device.settings.abi.has_compressed_writeback:
            tree["compressed_writeback"] = Attribute(
                mode=READ_WRITE, show=lambda: f"{self._writeback.is_compressed:d}\n", store=self.store_compressed
            )
        return tree

    def show_backing_dev(self) -> str:
        """backing_dev_show: a path, or none."""
        backing = self._writeback.backing
        return f"{backing.path if backing is not None else 'none'}\n"

    async def store_backing_dev(self, text: str, folder: str = "") -> None:
        """backing_dev_store: a block device; ours too: a regular file, and `none`. EBUSY once initialised.

        `folder` is where a relative path begins.
        """
        await self._device.upkeep.choose_backing(
            None if text.removesuffix("\n") == "none" else parse_path(text, folder)
        )

    async def store_limit(self, text: str) -> None:
        """writeback_limit_store: a u64 of pages."""
        self._writeback.limit_pages = parse_within(text, _U64_MAX)

    async def store_limit_enable(self, text: str) -> None:
        """writeback_limit_enable_store: a u64 of which only zero or not counts."""
        self._writeback.is_limited = parse_within(text, _U64_MAX) != 0

    async def store_batch_size(self, text: str) -> None:
        """writeback_batch_size_store: a u32, and not 0."""
        batch_pages = parse_within(text, _U32_MAX)
        if batch_pages == 0:
            raise InvalidValue("a batch has at least a page")
        self._writeback.batch_pages = batch_pages

    async def store_compressed(self, text: str) -> None:
        """compressed_writeback_store: a bool; EBUSY once initialised."""
        self._device.settings.compress_writeback(wanted=parse_bool(text))

    def show_bd_stat(self) -> str:
        """bd_stat_show: pages there, read and written."""
        stat = self._writeback.statistics()
        return f"{stat.bd_count:8d} {stat.bd_reads:8d} {stat.bd_writes:8d}\n"

    async def store_writeback(self, text: str) -> None:
        """writeback_store: a mode, or pages by their numbers."""
        if not self._device.is_initialised:
            raise NotInitialised(f"{self._device.name} is not initialised")
        if self._writeback.backing is None:
            raise NoBackingDevice(f"{self._device.name} has no backing device")
        await self._device.upkeep.write_back(_selections(text, self._device.disksize // PAGE_SIZE))


def _selections(text: str, page_count: int) -> list[Selection]:
    """Read what to write back. A word without value is a mode, as it once was; a mode ends the text."""
    selections: list[Selection] = []
    first, end = 0, page_count
    for name, value in parse_parameters(text):
        if not value or name == "type":
            return [*selections, _selection_of_mode(value or name, first, end)]
        if name not in ("page_index", "page_indexes"):
            continue
        first, end = _parse_pages(name, value, page_count)
        selections.append(Selection(first, end))
    return selections


def _selection_of_mode(mode: str, first: int, end: int) -> Selection:
    if mode not in _MODES:
        raise InvalidValue(f"{mode!r} is not a mode of writeback: {did_you_mean(mode, _MODES)}")
    return Selection(first, end, **_MODES[mode])


def _parse_pages(name: str, value: str, page_count: int) -> tuple[int, int]:
    """parse_page_index and parse_page_indexes: the first page, and the one behind the last."""
    low, separator, high = value.partition("-") if name == "page_indexes" else (value, "-", value)
    if not separator:
        raise InvalidValue(f"{value!r} is not a range of pages")
    first, last = parse_unsigned(low, most=_U64_MAX), parse_unsigned(high, most=_U64_MAX)
    if not first <= last < page_count:
        raise ValueOutOfRange(f"there are {page_count} pages, and not {value}")
    return first, last + 1
