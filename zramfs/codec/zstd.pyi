from typing import Final, Self

from zramfs.codec.run import PageCodec

MIN_LEVEL: Final[int]
MAX_LEVEL: Final[int]

class ZstdDictionary:
    def __new__(cls, content: bytes, level: int) -> Self: ...

class ZstdCodec(PageCodec):
    level: int
    def __new__(cls, level: int, dictionary: ZstdDictionary | None = None) -> Self: ...
