"""Marking pages idle, all of them or by their age, for writeback and recompression to find."""

from zramfs.contracts import Attribute, ControlTree
from zramfs.control.modes import WRITE_ONLY
from zramfs.control.values import parse_age
from zramfs.device.device import ZramDevice


class IdleAttributes:
    """The idle mark; the first access takes it away."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device

    def tree(self) -> ControlTree:
        """Return the family's files."""
        return {"idle": Attribute(mode=WRITE_ONLY, store=self.store_idle)}

    async def store_idle(self, text: str) -> None:
        """idle_store: `all`, or an age in seconds, a u32 (a u64 on 6.18); anything else is EINVAL."""
        is_u32 = self._device.settings.abi.counts_access_in_seconds
        age_s = None if text.removesuffix("\n") == "all" else parse_age(text, is_u32=is_u32)
        await self._device.upkeep.mark_idle(age_s)
