from threading import Event

from zramfs.block.layer import BlockLayer
from zramfs.receive.entries import Entries
from zramfs.receive.handles import Handles
from zramfs.receive.handover import Handover
from zramfs.receive.placement import Placement
from zramfs.receive.receiver import KeptWrites, Receiver
from zramfs.request_memory import RequestMemory

class UringReceiver(Receiver):
    queue: int
    entries: Entries
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
    ) -> None: ...
    @property
    def has_answered(self) -> bool: ...
    def run(self) -> None: ...
    def close(self) -> None: ...
