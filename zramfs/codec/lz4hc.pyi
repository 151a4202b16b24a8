from typing import Self

from zramfs.codec.run import PageCodec

class Lz4hcDictionary:
    def __new__(cls, content: bytes, level: int) -> Self: ...

class Lz4hcCodec(PageCodec):
    level: int
    def __new__(cls, level: int, dictionary: Lz4hcDictionary | None = None) -> Self: ...
