from collections.abc import Iterable
from typing import Self

from zramfs.codec.run import PageCodec

class ContextPool:
    needs_gil: bool
    def __new__(cls, codecs: Iterable[PageCodec]) -> Self: ...
    def __len__(self) -> int: ...
