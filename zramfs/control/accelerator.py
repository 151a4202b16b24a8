"""Ours: the accelerator's settings and counters, in a folder of their own."""

from functools import partial

from zramfs.contracts import Attribute, ControlTree
from zramfs.control.modes import READ_ONLY
from zramfs.control.values import key_value_lines
from zramfs.device.device import ZramDevice


class AcceleratorAttributes:
    """A file for each setting, and `stat` with the counters."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device

    def tree(self) -> ControlTree:
        """Return the folder `accel`."""
        settings = self._device.accelerator_settings() or {"profile": "none"}
        shown = {key: Attribute(mode=READ_ONLY, show=partial("{}\n".format, value)) for key, value in settings.items()}
        stat = Attribute(mode=READ_ONLY, show=lambda: key_value_lines(self._device.accelerator_statistics()))
        return {"accel": {**shown, "stat": stat}}
