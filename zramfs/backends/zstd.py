"""The zstd backend: the best ratio for its time, and better with a dictionary."""

from dataclasses import replace
from typing import Final, cast

from zramfs.codec.run import PageCodec
from zramfs.codec.zstd import MAX_LEVEL, MIN_LEVEL, ZstdCodec, ZstdDictionary
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, BackendParams
from zramfs.errors import InvalidValue

_DEFAULT_LEVEL: Final = 3  # ZSTD_CLEVEL_DEFAULT, as the kernel's


class ZstdBackend(Backend):
    """Zstandard frames, each a page. Negative levels are faster; the dictionary is raw content or a trained one."""

    name = "zstd"

    def setup_params(self, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        """Fix the level, and digest the dictionary once for all streams; zstd manages none."""
        params = super().setup_params(requested, accelerator=accelerator)
        if not requested.dictionary:
            return params
        try:
            return replace(params, digest=ZstdDictionary(requested.dictionary, params.level))
        except ValueError as error:
            raise InvalidValue(f"{requested.dictionary_path}: {error}") from error

    def resolve_params(self, requested: AlgorithmParams) -> AlgorithmParams:
        """Put the default level in, or the nearest that there is, as ZSTD_getCParams() does."""
        level = _DEFAULT_LEVEL if requested.level is None else requested.level
        return replace(requested, level=min(max(level, MIN_LEVEL), MAX_LEVEL), winbits=None)

    def create_context(self, params: BackendParams) -> PageCodec:
        """A compressor and a decompressor, which refer to the shared dictionary."""
        return ZstdCodec(params.level, cast("ZstdDictionary | None", params.digest))


ZSTD: Final = ZstdBackend()
