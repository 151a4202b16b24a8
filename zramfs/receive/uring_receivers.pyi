from collections.abc import Iterable

from zramfs.receive.handover import Handover
from zramfs.receive.uring import UringReceiver

class UringReceivers:
    receivers: list[UringReceiver]
    def __init__(self, receivers: Iterable[UringReceiver]) -> None: ...
    def begin_with(self, handover: Handover) -> None: ...
