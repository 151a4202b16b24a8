"""What tests of turns need: a backend that is slow, and a CPU to know it on."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zramfs.backends.lz4 import Lz4Backend
from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.contracts import BackendParams

PAGE_S = 0.001


class SlowLz4(Lz4Backend):
    """LZ4 that takes a millisecond and more for each page."""

    def create_context(self, params: BackendParams) -> PageCodec:
        """Return LZ4, and a pause."""
        codec = super().create_context(params)

        def compress(page: bytes) -> bytes:
            time.sleep(PAGE_S)
            return codec.compress(page)

        return FunctionCodec(compress, codec.decompress)


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Stay on a CPU: each has its own per-CPU stream, which knows what it took."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
