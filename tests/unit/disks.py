"""What tests of single disks share: disks with LZ4, and an accelerator if asked for, for threads of the tests' own."""

from collections.abc import Iterator
from contextlib import contextmanager

from zramfs.backends.lz4 import LZ4
from zramfs.block.blocks import BlockMap
from zramfs.block.disk import Disk
from zramfs.block.layer import BlockLayer
from zramfs.block.request import Request
from zramfs.block.slots import Codecs, SlotTable
from zramfs.contracts import Accelerator, Backend
from zramfs.zcomp.zcomp import Zcomp


@contextmanager
def open_lz4_disk(
    disk: Disk,
    pages: int,
    *,
    limit_pages: int = 0,
    blocks: BlockMap | None = None,
    backend: Backend = LZ4,
    accelerator: Accelerator | None = None,
    in_fractions: bool = False,
) -> Iterator[Disk]:
    """Let a disk have so many pages meanwhile."""
    channels = disk.layer.channel_count
    table = SlotTable(pages, limit_pages, blocks, channels, in_fractions=in_fractions)
    zcomp = Zcomp(backend, accelerator=accelerator)
    disk.open(table, zcomp, [Codecs(zcomp.backend.create_context(zcomp.params)) for _ in range(channels)])
    try:
        yield disk
    finally:
        disk.close()
        zcomp.close()
        table.close()


@contextmanager
def lz4_disk(
    pages: int,
    *,
    receivers: int = 0,
    crew: int = 0,
    limit_pages: int = 0,
    blocks: BlockMap | None = None,
    backend: Backend = LZ4,
    accelerator: Accelerator | None = None,
    in_fractions: bool = False,
) -> Iterator[Disk]:
    """Open a disk of a layer of its own."""
    layer = BlockLayer(receivers, crew)
    try:
        with open_lz4_disk(
            Disk("zram0", layer),
            pages,
            limit_pages=limit_pages,
            blocks=blocks,
            backend=backend,
            accelerator=accelerator,
            in_fractions=in_fractions,
        ) as disk:
            yield disk
    finally:
        layer.close()


def do(disk: Disk, operation: str, offset: int, data: object = None, channel: int = 1, **options: object) -> int:
    """Do a request on a receiver's channel; how many bytes it read or wrote."""
    request = Request(operation, offset, data, channel=channel, **options)  # type: ignore[arg-type]
    request.submit(disk)
    request.wait()
    return request.result()


def read(disk: Disk, offset: int, size: int, channel: int = 1) -> bytes:
    """Read on a receiver's channel."""
    out = bytearray(size)
    return bytes(out[: do(disk, "read", offset, out, channel)])
