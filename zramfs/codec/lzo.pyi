from typing import Self

from zramfs.codec.run import PageCodec

class LzoCodec(PageCodec):
    zero_runs: bool
    def __new__(cls, *, zero_runs: bool = False) -> Self: ...
