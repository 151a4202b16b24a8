"""What tests of receivers share: what a receiver is given, with a disk that is open."""

import os
from typing import Any

from zramfs.block.disk import Disk
from zramfs.receive.handles import Handles
from zramfs.receive.handover import Handover
from zramfs.request_memory import RequestMemory


class Reception:
    """What receivers of one disk are given; `handle` is the disk's. `ended` tells of the session's end."""

    def __init__(self, disk: Disk, *, limit_bytes: int = 1 << 20, background: int = 64) -> None:
        self.disk = disk
        self.layer = disk.layer
        self.memory = RequestMemory(limit_bytes)
        self.handles = Handles()
        self.handle = self.handles.open_disk(disk, os.O_RDWR | os.O_DIRECT)
        self.ended: list[bool] = []
        self.handover = Handover(
            self.handles,
            background=background,
            direct_writes_are_parallel=True,
            session_ended=lambda: self.ended.append(True),
        )

    def shared(self) -> dict[str, Any]:
        """Return what every receiver takes by these names."""
        return {"handles": self.handles, "handover": self.handover, "layer": self.layer, "memory": self.memory}
