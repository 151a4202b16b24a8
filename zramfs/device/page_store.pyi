from collections.abc import Callable, Mapping

from zramfs.bio import WriteBio
from zramfs.device.accounting import IoAccounting
from zramfs.device.long_writes import LongWrites
from zramfs.device.slots import Codecs, ReadHelper, SlotTable
from zramfs.device.trace import TracedRequest
from zramfs.streams import Stream
from zramfs.units import BytesLike
from zramfs.zcomp.zcomp import PercpuStream, Zcomp

class PageStore:
    slots: SlotTable
    zcomp: Zcomp
    secondaries: dict[int, PercpuStream]
    codecs: Codecs
    accounting: IoAccounting
    long_writes: LongWrites
    tracer: Callable[..., TracedRequest] | None
    def __init__(
        self,
        slots: SlotTable,
        zcomp: Zcomp,
        accounting: IoAccounting,
        read_helper: ReadHelper | None,
        secondaries: Mapping[int, PercpuStream] | None = None,
    ) -> None: ...
    def read_into(self, offset_bytes: int, out: bytearray | memoryview) -> bool: ...
    def write_nowait(self, bio: WriteBio) -> bool: ...
    def write_at_once(self, bio: WriteBio) -> bool: ...
    def commit(self, page: int, stream: Stream) -> None: ...
    def help(self) -> bool: ...
    def patch_page(self, page: int, skip: int, patch: BytesLike, contents: bytearray | None = None) -> None: ...
    def close(self) -> None: ...
