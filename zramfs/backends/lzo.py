"""The lzo backend: the kernel's, to the byte; near lz4 in speed and ratio."""

from typing import ClassVar, Final

from zramfs.codec.lzo import LzoCodec
from zramfs.codec.run import PageCodec
from zramfs.contracts import AlgorithmParams, Backend, BackendParams


class LzoBackend(Backend):
    """LZO1X-1. It has no parameters, and ignores those that it is given, as the kernel's does."""

    name = "lzo"
    zero_runs: ClassVar = False

    def resolve_params(self, requested: AlgorithmParams) -> AlgorithmParams:
        """Nothing is in use."""
        del requested
        return AlgorithmParams()

    def create_context(self, params: BackendParams) -> PageCodec:
        """The compressor's table."""
        del params
        return LzoCodec(zero_runs=self.zero_runs)


LZO: Final = LzoBackend()
