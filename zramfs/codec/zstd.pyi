from typing import Final

from zramfs.codec.run import PageCodec

MIN_LEVEL: Final[int]
MAX_LEVEL: Final[int]

class ZstdDictionary:
    def __init__(self, content: bytes, level: int) -> None: ...

class ZstdCodec(PageCodec):
    level: int
    def __init__(self, level: int, dictionary: ZstdDictionary | None = None) -> None: ...
