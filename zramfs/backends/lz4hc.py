"""The lz4hc backend: smaller than lz4, slow to compress, and as fast to decompress."""

from typing import Final

from zramfs.backends.params import level_within, refuse_dictionary, refuse_winbits
from zramfs.codec.lz4hc import Lz4hcCodec
from zramfs.codec.run import PageCodec
from zramfs.contracts import AlgorithmParams, Backend, BackendParams

_DEFAULT_LEVEL: Final = 9  # LZ4HC_DEFAULT_CLEVEL
_MAX_LEVEL: Final = 16  # the kernel's LZ4HC_MAX_CLEVEL; liblz4 takes all above 12 for 12


class Lz4hcBackend(Backend):
    """LZ4 blocks by liblz4's high compression. `level` is 1 to 16; the default is the kernel's."""

    name = "lz4hc"

    def resolve_params(self, requested: AlgorithmParams) -> AlgorithmParams:
        """Put the default level in."""
        refuse_dictionary(self.name, requested)
        refuse_winbits(self.name, requested)
        level = level_within(self.name, requested, default=_DEFAULT_LEVEL, least=1, most=_MAX_LEVEL)
        return AlgorithmParams(level=level)

    def create_context(self, params: BackendParams) -> PageCodec:
        """Tables of 256 KiB."""
        return Lz4hcCodec(params.level)


LZ4HC: Final = Lz4hcBackend()
