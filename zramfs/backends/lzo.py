"""The lzo backend: near lz4 in speed and ratio; it has no parameters."""

from typing import Final

from zramfs.codec.lzo import LzoCodec
from zramfs.codec.run import PageCodec
from zramfs.contracts import Backend, BackendParams


class LzoBackend(Backend):
    """LZO1X-1."""

    name = "lzo"

    def create_context(self, params: BackendParams) -> PageCodec:
        """The compressor's memory."""
        del params
        return LzoCodec()


LZO: Final = LzoBackend()
