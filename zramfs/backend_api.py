"""What the author of a backend imports: the contract, and what meets it. docs/backend_packages.md tells how.

A package outside of zramfs uses these names, and no others of zramfs.
"""

from zramfs.codec.run import CompressedRun, FunctionCodec, PageCodec, RunCompressor
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, BackendParams
from zramfs.errors import AcceleratorUnavailable, InvalidValue
from zramfs.streams import Stream, StreamManager
from zramfs.units import PAGE_SIZE, BytesLike

__all__ = [
    "PAGE_SIZE",
    "Accelerator",
    "AcceleratorUnavailable",
    "AlgorithmParams",
    "Backend",
    "BackendParams",
    "BytesLike",
    "CompressedRun",
    "FunctionCodec",
    "InvalidValue",
    "PageCodec",
    "RunCompressor",
    "Stream",
    "StreamManager",
]
