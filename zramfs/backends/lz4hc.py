"""The lz4hc backend: smaller than lz4, slow to compress, and as fast to decompress."""

from dataclasses import replace
from typing import Final, cast

from zramfs.codec.lz4hc import Lz4hcCodec, Lz4hcDictionary
from zramfs.codec.run import PageCodec
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, BackendParams

_DEFAULT_LEVEL: Final = 9  # LZ4HC_DEFAULT_CLEVEL
_MAX_LEVEL: Final = 16  # the kernel's LZ4HC_MAX_CLEVEL; liblz4 takes all above 12 for 12


class Lz4hcBackend(Backend):
    """LZ4 blocks by liblz4's high compression. `level` is 1 to 16; less is the default, and that is the kernel's.

    The dictionary is raw content.
    """

    name = "lz4hc"

    def setup_params(self, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        """Fix the level, and load the dictionary once for all streams."""
        params = super().setup_params(requested, accelerator=accelerator)
        if not requested.dictionary:
            return params
        return replace(params, digest=Lz4hcDictionary(requested.dictionary, params.level))

    def resolve_params(self, requested: AlgorithmParams) -> AlgorithmParams:
        """Put the default level in."""
        level = _DEFAULT_LEVEL if requested.level is None or requested.level < 1 else requested.level
        return replace(requested, level=min(level, _MAX_LEVEL), winbits=None)

    def create_context(self, params: BackendParams) -> PageCodec:
        """Tables of 256 KiB."""
        return Lz4hcCodec(params.level, cast("Lz4hcDictionary | None", params.digest))


LZ4HC: Final = Lz4hcBackend()
