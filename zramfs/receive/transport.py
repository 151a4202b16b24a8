"""What a transport is, and the receivers of a mount, which use one."""

import threading
from dataclasses import dataclass
from typing import Final, Protocol

from zramfs.block.layer import BlockLayer
from zramfs.receive.dev import DevReceiver
from zramfs.receive.handles import Handles
from zramfs.receive.handover import Handover
from zramfs.request_memory import RequestMemory

_FIRST_CHANNEL: Final = 1
"""Of the receivers; the event loop has 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """What every transport is given. `memory` limits what is kept of writes that end later."""

    layer: BlockLayer
    memory: RequestMemory
    handles: Handles
    handover: Handover
    busy_poll_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportStatistics:
    """How requests arrived. `requests` has a number for each queue; those that pyfuse3 was given are among them."""

    transport: str
    requests: tuple[int, ...]
    handed_over: int
    in_flight: int
    unused_buffer_bytes: int


class Transport(Protocol):
    """Receives the requests of one mount, in threads of its own."""

    def start(self) -> None:
        """Begin to receive."""

    def stop(self) -> None:
        """Receive nothing more. Requests that have arrived are still answered."""

    def close(self) -> None:
        """End the threads, once the session has ended."""

    def work_off(self) -> bool:
        """After `stop`: go on a little with large bios; False if there is nothing to do."""

    def set_io_flusher(self, is_one: bool) -> None:  # noqa: FBT001
        """Tell the kernel whether allocations of the threads must not wait for I/O that they serve (swap)."""

    @property
    def in_flight(self) -> int:
        """Bios that have begun and not ended."""

    def statistics(self) -> TransportStatistics:
        """Return what was received so far."""


class DevTransport:
    """One thread, which takes requests from /dev/fuse: its descriptor belongs to the caller, until `stop`."""

    def __init__(self, reception: Reception, dev_fd: int) -> None:
        self._handover = reception.handover
        self._receiver = DevReceiver(
            dev_fd,
            handles=reception.handles,
            handover=reception.handover,
            layer=reception.layer,
            memory=reception.memory,
            channel=_FIRST_CHANNEL,
            busy_poll_us=reception.busy_poll_us,
        )
        self._thread = threading.Thread(target=self._receiver.run, name="receiver", daemon=True)

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def stop(self) -> None:
        """Receive nothing more, and end the thread."""
        self._receiver.stop()
        if self._thread.is_alive():
            self._thread.join()

    def close(self) -> None:
        """Do nothing: the thread ended at `stop`."""

    def work_off(self) -> bool:
        """Go on a little with large bios, as the thread did."""
        return self._receiver.work_off()

    def set_io_flusher(self, is_one: bool) -> None:  # noqa: FBT001
        """Tell the kernel what the thread is."""
        self._receiver.set_io_flusher(is_one)

    @property
    def in_flight(self) -> int:
        """Bios that have begun and not ended."""
        return self._receiver.in_flight

    def statistics(self) -> TransportStatistics:
        """Return what was received so far."""
        return TransportStatistics(
            transport="dev",
            requests=(self._receiver.requests,),
            handed_over=self._handover.count,
            in_flight=self.in_flight,
            unused_buffer_bytes=self._receiver.pool.unused_memory_bytes,
        )

    def __repr__(self) -> str:
        return f"<DevTransport {self._receiver!r}>"
