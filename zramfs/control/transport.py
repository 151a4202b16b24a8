"""Ours: how requests arrive, and how often a thread that serves them waited for a lock."""

from zramfs.contracts import Attribute
from zramfs.control.modes import READ_ONLY
from zramfs.control.values import key_value_lines
from zramfs.device.device_set import DeviceSet
from zramfs.receive.receivers import Receivers


class TransportAttribute:
    """The daemon's `transport`: a `key value` a line, and a `requests_N` for each queue."""

    def __init__(self, receivers: Receivers, devices: DeviceSet) -> None:
        self._receivers = receivers
        self._devices = devices

    def attribute(self) -> Attribute:
        """Return the file."""
        return Attribute(mode=READ_ONLY, show=self.show)

    def show(self) -> str:
        """Ours: the transport's name, its queues, and what was received."""
        statistics = self._receivers.statistics()
        return key_value_lines(
            {
                "transport": statistics.transport,
                "queues": len(statistics.requests),
                **{f"requests_{queue}": count for queue, count in enumerate(statistics.requests)},
                "handed_over": statistics.handed_over,
                "in_flight": statistics.in_flight,
                "unused_buffer_bytes": statistics.unused_buffer_bytes,
                "lock_waits": sum(device.statistics.lock_waits() for device in self._devices),
            }
        )
