from collections.abc import Callable, Mapping, Sequence

from zramfs.accel.modelled import ModelledQueue
from zramfs.codec.run import CompressedRun
from zramfs.streams import Stream, StreamManager

class ManagedStream(Stream): ...

class ManagedStreams(StreamManager):
    queue: ModelledQueue
    streams: list[ManagedStream]
    takes_runs: bool
    is_online: bool
    waits_when_full: bool
    queue_full: int
    software_redone: int
    def __init__(self, queue: ModelledQueue, runs: Sequence[CompressedRun], polled_run_pages: int) -> None: ...
    def when_free(self, callback: Callable[[], None]) -> None: ...
    def stop_waiting(self) -> None: ...
    def set_online(self, online: bool) -> None: ...
    def error_counts(self) -> Mapping[str, int]: ...
