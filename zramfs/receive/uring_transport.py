"""The receivers of FUSE over io_uring, and one of /dev/fuse beside them, by which INIT, FORGET and INTERRUPT come.

Rings are set up before INIT is answered. Where that fails, the kernel is not asked for io_uring, and everything comes
by /dev/fuse.
"""

import logging
import os
import threading
from pathlib import Path
from typing import Final

from zramfs.receive.placement import Placement
from zramfs.receive.receiver import KeptWrites
from zramfs.receive.transport import DevTransport, Reception, TransportStatistics
from zramfs.receive.uring import UringReceiver
from zramfs.receive.uring_receivers import UringReceivers

_log: Final = logging.getLogger(__name__)

_FIRST_CHANNEL: Final = 2
"""Of the queues; the event loop has 0, /dev/fuse has 1."""

_POSSIBLE: Final = Path("/sys/devices/system/cpu/possible")


def queue_count() -> int:
    """Return how many queues the kernel has: one for each CPU that there could be."""
    return sum(last - first + 1 for first, last in map(_ends, _POSSIBLE.read_text().split(",")))


def _ends(numbers: str) -> tuple[int, int]:
    first, _, last = numbers.strip().partition("-")
    return int(first), int(last or first)


class UringTransport:
    """A thread for each queue of the kernel, on its CPU unless it roams. `dev_fd` is the caller's, until `close`."""

    def __init__(self, reception: Reception, dev_fd: int) -> None:
        self._reception = reception
        self._dev = DevTransport(reception, dev_fd)
        self.placement = _make_placement()
        self._kept = KeptWrites()
        self._receivers = [self._make_receiver(dev_fd, queue) for queue in range(queue_count())]
        self._begins_together = UringReceivers(self._receivers)
        self._threads = [
            threading.Thread(target=receiver.run, name=f"queue-{receiver.queue}", daemon=True)
            for receiver in self._receivers
        ]
        self._is_stopped = False

    def _make_receiver(self, dev_fd: int, queue: int) -> UringReceiver:
        return UringReceiver(
            dev_fd,
            queue=queue,
            handles=self._reception.handles,
            handover=self._reception.handover,
            layer=self._reception.layer,
            memory=self._reception.memory,
            placement=self.placement,
            kept=self._kept,
            channel=_FIRST_CHANNEL + queue,
        )

    def start(self) -> None:
        """Begin to receive; by io_uring as soon as the kernel has been told of every queue."""
        for thread in self._threads:
            thread.start()
        for receiver in self._receivers:
            receiver.is_set_up.wait()
        failures = {receiver.failure for receiver in self._receivers} - {0}
        if failures:
            reasons = ", ".join(map(os.strerror, failures))
            _log.warning("no ring for each queue of io_uring (%s): requests come by /dev/fuse", reasons)
            self._stop_queues()
        else:
            self._begins_together.begin_with(self._reception.handover)
        self._dev.start()

    def stop(self) -> None:
        """Receive nothing more. What has begun is answered; the queues keep their rings until `close`."""
        self._is_stopped = True
        self._stop_queues()
        self._dev.stop()

    def _stop_queues(self) -> None:
        for receiver in self._receivers:
            receiver.stop()

    def close(self) -> None:
        """End the threads: the session has ended."""
        for receiver in self._receivers:
            receiver.close()
        for thread in self._threads:
            thread.join()

    def work_off(self) -> bool:
        """Go on a little with large bios, on the channel of /dev/fuse."""
        return self._dev.work_off()

    def set_io_flusher(self, is_one: bool) -> None:  # noqa: FBT001
        """Tell the kernel what the threads are."""
        self._dev.set_io_flusher(is_one)
        for receiver in self._receivers:
            receiver.set_io_flusher(is_one)

    @property
    def in_flight(self) -> int:
        """Bios that have begun and not ended; after `stop`, queues that are still answering as well."""
        begun = self._dev.in_flight + sum(receiver.in_flight for receiver in self._receivers)
        return begun + self._answering() if self._is_stopped else begun

    def _answering(self) -> int:
        queues = zip(self._threads, self._receivers, strict=True)
        return sum(thread.is_alive() and not receiver.has_answered for thread, receiver in queues)

    def statistics(self) -> TransportStatistics:
        """Return what was received so far, by queue; what came by /dev/fuse is not among it."""
        dev = self._dev.statistics()
        return TransportStatistics(
            transport="uring",
            requests=tuple(receiver.requests for receiver in self._receivers),
            handed_over=dev.handed_over,
            in_flight=dev.in_flight + sum(receiver.in_flight for receiver in self._receivers),
            unused_buffer_bytes=dev.unused_buffer_bytes
            + sum(receiver.entries.memory_bytes for receiver in self._receivers),
        )

    def __repr__(self) -> str:
        return f"<UringTransport of {len(self._receivers)} queues, {self.placement!r}>"


def _make_placement() -> Placement:
    """Return where threads run: at home on the CPU of their queue, if we may run there."""
    allowed = os.sched_getaffinity(0)
    return Placement([queue if queue in allowed else -1 for queue in range(queue_count())])
