from collections.abc import Iterable
from threading import Event

from zramfs.block.layer import BlockLayer
from zramfs.receive.handles import Handles
from zramfs.receive.handover import Handover
from zramfs.receive.placement import Placement
from zramfs.request_memory import RequestMemory

class KeptWrites: ...

class UringReceiver:
    queue: int
    channel: int
    entry_count: int
    failure: int
    is_set_up: Event
    def __init__(
        self,
        dev_fd: int,
        *,
        queue: int,
        handles: Handles,
        handover: Handover,
        layer: BlockLayer,
        memory: RequestMemory,
        placement: Placement,
        kept: KeptWrites,
        channel: int,
        busy_poll_us: int,
    ) -> None: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...
    def set_io_flusher(self, is_one: bool) -> None: ...
    @property
    def requests(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def payload_memory_bytes(self) -> int: ...

class UringReceivers:
    receivers: list[UringReceiver]
    def __init__(self, receivers: Iterable[UringReceiver]) -> None: ...
    def begin_with(self, handover: Handover) -> None: ...
