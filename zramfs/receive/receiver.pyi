from zramfs.block.layer import BlockLayer
from zramfs.receive.handles import Handles
from zramfs.receive.handover import Handover
from zramfs.request_memory import RequestMemory

class KeptWrites: ...

class Receiver:
    channel: int
    def __init__(
        self,
        *,
        handles: Handles,
        handover: Handover,
        layer: BlockLayer,
        memory: RequestMemory,
        kept: KeptWrites,
        channel: int,
    ) -> None: ...
    def stop(self) -> None: ...
    def set_io_flusher(self, is_one: bool) -> None: ...
    @property
    def requests(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
