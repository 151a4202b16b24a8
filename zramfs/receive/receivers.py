"""The receivers of a mount, from before it is mounted until after."""

from collections.abc import Callable

from zramfs.block.layer import BlockLayer
from zramfs.receive.choice import TRANSPORTS
from zramfs.receive.handles import Handles
from zramfs.receive.handover import Handover
from zramfs.receive.transport import Reception, Transport, TransportStatistics
from zramfs.request_memory import RequestMemory

_NO_RECEIVERS = TransportStatistics(transport="pyfuse3", requests=(), handed_over=0, in_flight=0, unused_buffer_bytes=0)
"""While nothing is received, or where pyfuse3 receives everything."""


class Receivers:
    """Who submits the requests of one mount to `layer`, by a transport of this name (`choice`).

    `memory` limits what is kept of writes that end later, `background` is how many asynchronous requests the kernel
    hands over at a time, and `busy_poll_us` how long to poll for the next request before sleeping.
    """

    def __init__(
        self, transport: str, *, layer: BlockLayer, memory: RequestMemory, busy_poll_us: int, background: int
    ) -> None:
        self.handles = Handles()
        """The files that are open."""
        self._transport_name = transport
        self._layer = layer
        self._memory = memory
        self._busy_poll_us = busy_poll_us
        self._background = background
        self._transport: Transport | None = None
        self._are_io_flushers = False

    def handover(self, *, direct_writes_are_parallel: bool, session_ended: Callable[[], None]) -> Handover:
        """Make what the session reads from. `session_ended` is called when the kernel has given the session up."""
        return Handover(
            self.handles,
            background=self._background,
            direct_writes_are_parallel=direct_writes_are_parallel,
            session_ended=session_ended,
        )

    def start(self, handover: Handover, dev_fd: int) -> None:
        """Begin to receive. `dev_fd` is the caller's again after `close`."""
        reception = Reception(
            layer=self._layer,
            memory=self._memory,
            handles=self.handles,
            handover=handover,
            busy_poll_us=self._busy_poll_us,
        )
        self._transport = TRANSPORTS[self._transport_name](reception, dev_fd)
        self._transport.set_io_flusher(self._are_io_flushers)
        self._transport.start()

    def stop(self) -> None:
        """Receive nothing more; what has arrived is still answered."""
        if self._transport is not None:
            self._transport.stop()

    def close(self) -> None:
        """End the threads, once the session has ended."""
        if self._transport is not None:
            self._transport.close()

    @property
    def in_flight(self) -> int:
        """Requests that have begun and not ended."""
        return self._transport.in_flight if self._transport is not None else 0

    def work_off(self) -> bool:
        """After `stop`: go on a little with what is in flight; False if that needs no help."""
        return self._transport is not None and self._transport.work_off()

    def set_io_flushers(self, are: bool) -> None:  # noqa: FBT001
        """Tell the kernel whether receivers and crew serve swap: their allocations must not wait for it then."""
        self._are_io_flushers = are
        self._layer.set_io_flushers(are)
        if self._transport is not None:
            self._transport.set_io_flusher(are)

    def statistics(self) -> TransportStatistics:
        """Return what was received so far."""
        return self._transport.statistics() if self._transport is not None else _NO_RECEIVERS

    def __repr__(self) -> str:
        return f"<Receivers {self._transport!r}>"
