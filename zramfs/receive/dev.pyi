from zramfs.block.layer import BlockLayer
from zramfs.receive.buffers import BufferPool
from zramfs.receive.handles import Handles
from zramfs.receive.handover import Handover
from zramfs.request_memory import RequestMemory

class DevReceiver:
    pool: BufferPool
    channel: int
    def __init__(
        self,
        fd: int,
        *,
        handles: Handles,
        handover: Handover,
        layer: BlockLayer,
        memory: RequestMemory,
        channel: int,
        busy_poll_us: int,
    ) -> None: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...
    def work_off(self) -> bool: ...
    def set_io_flusher(self, is_one: bool) -> None: ...
    @property
    def requests(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
