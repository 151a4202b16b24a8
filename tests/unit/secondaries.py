"""What tests of recompression share: a better algorithm, pages that need one, and asking for it."""

import random
import zlib
from typing import Any

from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.contracts import Backend, BackendParams
from zramfs.device.recompression import Recompression

PAGE = 4096


class Zlib(Backend):
    """Compresses better than LZ4, and counts what it compresses."""

    def __init__(self, name: str = "zlib", level: int = 9) -> None:
        self.name = name
        self.level = level
        self.compressed = 0

    def create_context(self, params: BackendParams) -> PageCodec:
        del params
        return FunctionCodec(self._compress, zlib.decompress)

    def _compress(self, page: bytes) -> bytes:
        self.compressed += 1
        return zlib.compress(page, self.level)


def letters(count: int, seed: int = 0) -> bytes:
    """Make pages that LZ4 does not shrink and zlib does, to three quarters: random letters of 64."""
    return bytes(random.Random(seed).choices(range(64, 128), k=count * PAGE))


def every(**options: Any) -> Recompression:
    return Recompression(**{"first_priority": 1, "end_priority": 2} | options)
