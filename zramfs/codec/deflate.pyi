from typing import Self

from zramfs.codec.run import PageCodec

class DeflateCodec(PageCodec):
    level: int
    winbits: int
    def __new__(cls, level: int, winbits: int) -> Self: ...
