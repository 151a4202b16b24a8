from typing import Self

from zramfs.codec.run import PageCodec

MAX_ACCELERATION: int

class Lz4Dictionary:
    def __new__(cls, content: bytes) -> Self: ...

class Lz4Codec(PageCodec):
    acceleration: int
    def __new__(cls, acceleration: int = 1) -> Self: ...

class Lz4DictionaryCodec(PageCodec):
    acceleration: int
    def __new__(cls, dictionary: Lz4Dictionary, acceleration: int = 1) -> Self: ...
