"""Ours: which streams the writes of a device use, and what they did."""

from zramfs.contracts import Attribute, ControlTree, StreamPolicy
from zramfs.control.modes import READ_WRITE
from zramfs.control.values import choice, key_value_lines, require_zero
from zramfs.device.device import ZramDevice
from zramfs.errors import InvalidValue


class StreamAttributes:
    """The choice of streams, and its outcome."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device

    def tree(self) -> ControlTree:
        """Return the family's files."""
        return {
            "stream_policy": Attribute(mode=READ_WRITE, show=self.show_stream_policy, store=self.store_stream_policy),
            "stream_stat": Attribute(mode=READ_WRITE, show=self.show_stream_stat, store=self.store_stream_stat),
        }

    def show_stream_policy(self) -> str:
        """Ours: auto, managed or percpu."""
        return choice([policy.value for policy in StreamPolicy], self._device.settings.policy.value) + "\n"

    async def store_stream_policy(self, text: str) -> None:
        """Ours: holds from the next write on, in any state."""
        try:
            policy = StreamPolicy(text.strip())
        except ValueError as error:
            raise InvalidValue(f"{text.strip()!r} is not a stream policy") from error
        self._device.settings.set_policy(policy)

    def show_stream_stat(self) -> str:
        """Ours: pages by kind of stream, and why there are no managed ones, if there should be."""
        lines = key_value_lines(self._device.statistics.streams().counters())
        reason = self._device.manager_error
        return lines + (f"managed_error {reason}\n" if reason else "")

    async def store_stream_stat(self, text: str) -> None:
        """Ours: 0 counts pages and waits anew; what the accelerator has in flight is `accel/stat`'s."""
        require_zero(text)
        self._device.statistics.reset_streams()
