"""The lzo-rle backend: lzo with runs of zeros; a kernel's default unless it is built otherwise."""

from typing import ClassVar, Final

from zramfs.backends.lzo import LzoBackend


class LzoRleBackend(LzoBackend):
    """Version 1 of the LZO1X bitstream."""

    name = "lzo-rle"
    zero_runs: ClassVar = True


LZO_RLE: Final = LzoRleBackend()
