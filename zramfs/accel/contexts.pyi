from collections.abc import Iterable

from zramfs.codec.run import PageCodec

class ContextPool:
    needs_gil: bool
    def __init__(self, codecs: Iterable[PageCodec]) -> None: ...
    def __len__(self) -> int: ...
