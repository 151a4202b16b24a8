"""Ours: the accelerator's settings and counters, in a folder of their own."""

from functools import partial

from zramfs.contracts import Accelerator, Attribute, ControlTree
from zramfs.control.modes import READ_ONLY, READ_WRITE
from zramfs.control.values import key_value_lines, require_zero
from zramfs.device.device import ZramDevice


class AcceleratorAttributes:
    """A file for each setting, writable where it may change at run time, and `stat` with the counters."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device

    def tree(self) -> ControlTree:
        """Return the folder `accel`."""
        accelerator = self._device.settings.accelerator
        stat = Attribute(mode=READ_WRITE, show=self.show_stat, store=self.store_stat)
        if accelerator is None:
            return {"accel": {"profile": Attribute(mode=READ_ONLY, show=lambda: "none\n"), "stat": stat}}
        return {"accel": {**{key: _setting(accelerator, key) for key in accelerator.settings()}, "stat": stat}}

    def show_stat(self) -> str:
        """Ours: what the device did."""
        return key_value_lines(self._device.statistics.accelerator())

    async def store_stat(self, text: str) -> None:
        """Ours: 0 counts it anew."""
        require_zero(text)
        self._device.statistics.reset_accelerator()


def _setting(accelerator: Accelerator, key: str) -> Attribute:
    def show() -> str:
        return f"{accelerator.setting(key)}\n"

    if not accelerator.can_set(key):
        return Attribute(mode=READ_ONLY, show=show)
    return Attribute(mode=READ_WRITE, show=show, store=partial(_store, accelerator, key))


async def _store(accelerator: Accelerator, key: str, text: str) -> None:
    accelerator.set(key, text.strip())
