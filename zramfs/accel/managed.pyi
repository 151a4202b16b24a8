from collections.abc import Sequence

from zramfs.accel.ring import DescriptorRing
from zramfs.codec.run import CompressedRun
from zramfs.streams import Stream, StreamManager

class ManagedStream(Stream):
    def complete(self) -> None: ...

class ManagedStreams(StreamManager):
    ring: DescriptorRing
    streams: list[ManagedStream]
    takes_runs: bool
    queue_full: int
    def __init__(self, ring: DescriptorRing, runs: Sequence[CompressedRun], polled_run_pages: int) -> None: ...
