from zramfs.block.layer import BlockLayer
from zramfs.receive.buffers import BufferPool
from zramfs.receive.handles import Handles
from zramfs.receive.handover import Handover
from zramfs.receive.receiver import Receiver
from zramfs.request_memory import RequestMemory

class DevReceiver(Receiver):
    pool: BufferPool
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
    def work_off(self) -> bool: ...
