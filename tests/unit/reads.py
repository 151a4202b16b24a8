"""What tests of devices share: requests of the event loop's that need no waiting, and their outcome."""

from zramfs.block.disk import Disk
from zramfs.block.request import Outcome, Request
from zramfs.device.device import ZramDevice
from zramfs.units import BytesLike


def perform(disk: Disk, request: Request) -> int:
    """Do a request that has to wait for nothing; how many bytes it read or wrote."""
    outcome = request.submit(disk)
    while outcome == Outcome.HAS_MORE:
        outcome = request.go_on()
    assert request.has_ended
    return request.result()


def read_disk(disk: Disk, offset: int, size: int) -> bytes:
    """Read what is in memory."""
    out = bytearray(size)
    assert perform(disk, Request("read", offset, out)) == size
    return bytes(out)


def write_disk(disk: Disk, offset: int, data: BytesLike) -> None:
    """Write on per-CPU streams."""
    assert perform(disk, Request("write", offset, data)) == len(data)


def punch_disk(disk: Disk, offset: int, size: int) -> None:
    """Let a range read as zeros."""
    perform(disk, Request("punch", offset, size_bytes=size))


def read(device: ZramDevice, offset: int, size: int) -> bytes:
    """Read what is in memory."""
    return read_disk(device.disk, offset, size)


async def read_back(device: ZramDevice, offset: int, size: int) -> bytes:
    """Read what may be in the backing device."""
    out = bytearray(size)
    assert await device.read(offset, out) == size
    return bytes(out)
