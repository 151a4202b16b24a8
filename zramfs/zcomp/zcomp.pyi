from collections.abc import Mapping
from typing import Final

from zramfs.codec.run import PageCodec
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, BackendParams, StreamPolicy
from zramfs.streams import Stream
from zramfs.zcomp.statistics import StreamStatistics

PERCPU_RUN_PAGES: Final[int]
FALLBACK_RUN_PAGES: Final[int]

class PercpuStream(Stream):
    codec: PageCodec
    pages: int
    fallback_pages: int
    waits: int
    def __init__(self, codec: PageCodec) -> None: ...

class Zcomp:
    backend: Backend
    params: BackendParams
    codec: PageCodec
    any_thread: bool
    policy: StreamPolicy
    @property
    def manager_error(self) -> str: ...
    def __init__(
        self,
        backend: Backend,
        *,
        algorithm_params: AlgorithmParams = ...,
        accelerator: Accelerator | None = None,
        policy: StreamPolicy = ...,
    ) -> None: ...
    async def serve_completions(self) -> None: ...
    def abandon(self) -> None: ...
    def lock_waits(self) -> int: ...
    def statistics(self) -> StreamStatistics: ...
    def accelerator_statistics(self) -> Mapping[str, float]: ...
    def reset_accelerator_statistics(self) -> bool: ...
    def close(self) -> None: ...
