"""Pages to write: as fio fills its buffers, of which 60 % can be compressed away."""

import random
from typing import Final

from zramfs.units import PAGE_SIZE

_PIECE_BYTES: Final = 512
_RANDOM_BYTES: Final = 205
"""Of each piece, the rest of which is zeros: fio with buffer_compress_percentage=60."""


def compressible_pages(count: int, *, seed: int) -> bytes:
    """Return pages that all differ; the same ones for the same seed."""
    make = random.Random(seed).randbytes  # noqa: S311 - contents of a measurement
    pieces = count * PAGE_SIZE // _PIECE_BYTES
    return b"".join(make(_RANDOM_BYTES) + bytes(_PIECE_BYTES - _RANDOM_BYTES) for _ in range(pieces))
