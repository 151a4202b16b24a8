"""The memory of a device: its limit, its peak, its statistics, and compaction."""

from dataclasses import astuple

from zramfs.contracts import Attribute, ControlTree
from zramfs.control.modes import READ_ONLY, WRITE_ONLY
from zramfs.control.values import parse_unsigned
from zramfs.device.device import ZramDevice
from zramfs.errors import InvalidValue
from zramfs.units import memparse


class MemoryAttributes:
    """What the pool holds and may hold."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device

    def tree(self) -> ControlTree:
        """Return the family's files."""
        return {
            "mm_stat": Attribute(mode=READ_ONLY, show=self.show_mm_stat),
            "mem_limit": Attribute(mode=WRITE_ONLY, store=self.store_mem_limit),
            "mem_used_max": Attribute(mode=WRITE_ONLY, store=self.store_mem_used_max),
            "compact": Attribute(mode=WRITE_ONLY, store=self.store_compact),
        }

    def show_mm_stat(self) -> str:
        """mm_stat_show: nine numbers, eight wide."""
        return " ".join(f"{value:8d}" for value in astuple(self._device.mm_stat())) + "\n"

    async def store_mem_limit(self, text: str) -> None:
        """mem_limit_store: a size as memparse reads it, 0 for no limit, in any state."""
        limit_bytes = memparse(text)
        if limit_bytes is None:
            raise InvalidValue(f"{text!r} is not a size")
        self._device.set_mem_limit(limit_bytes)

    async def store_mem_used_max(self, text: str) -> None:
        """mem_used_max_store: only 0, and whatever is wrong is EINVAL."""
        if parse_unsigned(text) != 0:
            raise InvalidValue("mem_used_max takes only 0")
        self._device.reset_mem_used_max()

    async def store_compact(self, _text: str) -> None:
        """compact_store: any text."""
        await self._device.compact()
