from collections.abc import Mapping
from typing import Final

from zramfs.codec.run import PageCodec
from zramfs.contracts import Accelerator, Backend, BackendParams, StreamPolicy
from zramfs.streams import Stream
from zramfs.units import BytesLike
from zramfs.zcomp.statistics import StreamStatistics

PERCPU_RUN_PAGES: Final[int]
FALLBACK_RUN_PAGES: Final[int]

class PercpuStream(Stream):
    codec: PageCodec
    def __init__(self, codec: PageCodec) -> None: ...

class Zcomp:
    backend: Backend
    params: BackendParams
    codec: PageCodec
    policy: StreamPolicy
    def __init__(
        self,
        backend: Backend,
        *,
        level: int | None = None,
        accelerator: Accelerator | None = None,
        policy: StreamPolicy = ...,
    ) -> None: ...
    def submit(self, source: BytesLike, offset_bytes: int, pages: int, *, is_async: bool) -> tuple[Stream, int]: ...
    def submit_patched_page(self, page: BytesLike) -> Stream: ...
    def put_stream(self, stream: Stream) -> None: ...
    def poll_completions(self) -> None: ...
    def help(self) -> bool: ...
    async def serve_completions(self) -> None: ...
    def statistics(self) -> StreamStatistics: ...
    def accelerator_statistics(self) -> Mapping[str, int]: ...
    def close(self) -> None: ...
