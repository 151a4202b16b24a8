"""What tests of devices share: reads that return what they read."""

from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import PageCodec
from zramfs.device.device import ZramDevice
from zramfs.device.slots import Codecs, ReadHelper, SlotTable


def read(device: ZramDevice, offset: int, size: int) -> bytes:
    """Read as a request does."""
    assert device.store is not None
    out = bytearray(size)
    device.store.read_into(offset, out)
    return bytes(out)


async def read_back(device: ZramDevice, offset: int, size: int) -> bytes:
    """Read as a request does that may have to wait for the backing device."""
    out = bytearray(size)
    assert device.store is not None
    if not device.store.read_into(offset, out):
        await device.read(offset, memoryview(out))
    return bytes(out)


def read_slots(
    slots: SlotTable, offset: int, size: int, codec: PageCodec | None = None, helper: ReadHelper | None = None
) -> bytes:
    """Read from a table alone, with LZ4 unless told otherwise."""
    out = bytearray(size)
    slots.read_into(offset, out, Codecs(codec or Lz4Codec()), helper)
    return bytes(out)
