"""The memory of a device: its limit, its peak, its statistics, and compaction."""

from zramfs.contracts import Attribute, ControlTree
from zramfs.control.modes import READ_ONLY, READ_WRITE, WRITE_ONLY
from zramfs.control.values import key_value_lines, require_zero
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
            "mem_limit_stat": Attribute(
                mode=READ_WRITE, show=self.show_mem_limit_stat, store=self.store_mem_limit_stat
            ),
            "compact": Attribute(mode=WRITE_ONLY, store=self.store_compact),
        }

    def show_mm_stat(self) -> str:
        """mm_stat_show: nine numbers, eight wide."""
        return " ".join(f"{value:8d}" for value in self._device.statistics.mm_stat()) + "\n"

    async def store_mem_limit(self, text: str) -> None:
        """mem_limit_store: a size as memparse reads it, 0 for no limit, in any state."""
        limit_bytes = memparse(text)
        if limit_bytes is None:
            raise InvalidValue(f"{text!r} is not a size")
        self._device.settings.set_mem_limit(limit_bytes)

    async def store_mem_used_max(self, text: str) -> None:
        """mem_used_max_store: only 0, and whatever is wrong is EINVAL."""
        require_zero(text)
        self._device.statistics.reset_mem_used_max()

    def show_mem_limit_stat(self) -> str:
        """Ours: the limit, whether it is full, and how many pages it kept out."""
        stat = self._device.statistics.limit_stat()
        return key_value_lines({"limit_bytes": stat.limit_bytes, "is_full": int(stat.is_full), "hits": stat.hits})

    async def store_mem_limit_stat(self, text: str) -> None:
        """Ours: 0 counts the hits anew."""
        require_zero(text)
        self._device.statistics.reset_limit_hits()

    async def store_compact(self, _text: str) -> None:
        """compact_store: any text."""
        await self._device.upkeep.compact()
