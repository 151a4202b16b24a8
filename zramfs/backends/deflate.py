"""The deflate backend: what accelerators such as Intel's IAA speak, in software."""

from typing import Final

from zramfs.codec.deflate import DeflateCodec
from zramfs.codec.run import PageCodec
from zramfs.contracts import AlgorithmParams, Backend, BackendParams
from zramfs.errors import InvalidValue

_DEFAULT_LEVEL: Final = -1  # Z_DEFAULT_COMPRESSION, which is 6
_DEFAULT_WINBITS: Final = -11  # DEFLATE_DEF_WINBITS: raw data with a window of 2 KiB


class DeflateBackend(Backend):
    """Deflate. `level` is zlib's, -1 to 9; `winbits` is ±9 to ±15, negative for raw data, as the kernel's default.

    A dictionary is ignored, as by the kernel's.
    """

    name = "deflate"

    def resolve_params(self, requested: AlgorithmParams) -> AlgorithmParams:
        """Put the default level and window in."""
        level = _DEFAULT_LEVEL if requested.level is None else requested.level
        if level not in range(-1, 10):
            raise InvalidValue(f"{self.name} has no level {level}, but -1 to 9")
        winbits = _DEFAULT_WINBITS if requested.winbits is None else requested.winbits
        if abs(winbits) not in range(9, 16):
            raise InvalidValue(f"{self.name} has no winbits {winbits}, but 9 to 15, or -9 to -15 for raw data")
        return AlgorithmParams(level=level, winbits=winbits)

    def create_context(self, params: BackendParams) -> PageCodec:
        """A compressor's window and tables, and a decompressor's."""
        assert params.algorithm.winbits is not None  # noqa: S101 - resolve_params put it there
        return DeflateCodec(params.level, params.algorithm.winbits)


DEFLATE: Final = DeflateBackend()
