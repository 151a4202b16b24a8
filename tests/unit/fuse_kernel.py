"""Stands for the kernel at the other end of /dev/fuse: a socket that keeps messages apart, and the words of FUSE."""

import os
import select
import socket
import struct
from typing import Final

READ, WRITE, INIT, OPEN, FORGET, INTERRUPT, FALLOCATE, LSEEK, GETATTR = 15, 16, 26, 14, 2, 36, 43, 46, 3
WRITE_CACHE: Final = 1

_IN_HEADER: Final = struct.Struct("<IIQQIIIHH")
_OUT_HEADER: Final = struct.Struct("<IiQ")
_READ_OR_WRITE: Final = struct.Struct("<QQIIQII")
_FALLOCATE: Final = struct.Struct("<QQQII")
_LSEEK: Final = struct.Struct("<QQII")

_SO_SNDBUFFORCE: Final = 32
_ROOM_BYTES: Final = 4 << 20
_PATIENCE_MS: Final = 10_000


class Kernel:
    """Sends requests and takes replies. `fd` is the daemon's end."""

    def __init__(self) -> None:
        self._mine, self._daemon = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._mine, self._daemon):
            if os.geteuid() == 0:
                end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _ROOM_BYTES)
        os.set_blocking(self._daemon.fileno(), False)
        self.fd = self._daemon.fileno()
        self._unique = 0

    def close(self) -> None:
        """Give the connection up."""
        self._mine.close()
        self._daemon.close()

    def abort(self) -> None:
        """End the session, as umount does."""
        self._mine.close()

    def send(self, opcode: int, body: bytes = b"") -> int:
        """Send a request; its unique number."""
        self._unique += 2
        self._mine.send(message(opcode, self._unique, body))
        return self._unique

    def read(self, handle: int, offset: int, size: int) -> int:
        """Ask for data."""
        return self.send(READ, reading(handle, offset, size))

    def write(self, handle: int, offset: int, data: bytes, *, flags: int = os.O_RDWR, write_flags: int = 0) -> int:
        """Send data."""
        return self.send(WRITE, writing(handle, offset, len(data), flags=flags, write_flags=write_flags) + data)

    def fallocate(self, handle: int, mode: int, offset: int, size: int) -> int:
        """Ask for a hole."""
        return self.send(FALLOCATE, allocating(handle, mode, offset, size))

    def lseek(self, handle: int, offset: int, whence: int) -> int:
        """Ask where data is."""
        return self.send(LSEEK, seeking(handle, offset, whence))

    def reply(self) -> tuple[int, int, bytes]:
        """Take the next reply: unique, errno, what follows the header."""
        if not self.has_reply(_PATIENCE_MS):
            raise TimeoutError("no reply")
        message = self._mine.recv(_ROOM_BYTES)
        size_bytes, error, unique = _OUT_HEADER.unpack_from(message)
        assert size_bytes == len(message)
        return unique, -error, message[_OUT_HEADER.size :]

    def has_reply(self, within_ms: int = 0) -> bool:
        """Whether there is one, or comes soon."""
        poll = select.poll()
        poll.register(self._mine, select.POLLIN)
        return bool(poll.poll(within_ms))

    def answer(self, unique: int) -> tuple[int, bytes]:
        """Take the next reply, which is for this request: errno and what follows the header."""
        replied, error, body = self.reply()
        assert replied == unique
        return error, body


def message(opcode: int, unique: int, body: bytes = b"") -> bytes:
    """Return a request: fuse_in_header and what follows it."""
    return _IN_HEADER.pack(_IN_HEADER.size + len(body), opcode, unique, 1, 0, 0, 0, 0, 0) + body


def reading(handle: int, offset: int, size: int) -> bytes:
    """Return fuse_read_in."""
    return _READ_OR_WRITE.pack(handle, offset, size, 0, 0, 0, 0)


def writing(handle: int, offset: int, size: int, *, flags: int = os.O_RDWR, write_flags: int = 0) -> bytes:
    """Return fuse_write_in, which the data follows."""
    return _READ_OR_WRITE.pack(handle, offset, size, write_flags, 0, flags, 0)


def allocating(handle: int, mode: int, offset: int, size: int) -> bytes:
    """Return fuse_fallocate_in."""
    return _FALLOCATE.pack(handle, offset, size, mode, 0)


def seeking(handle: int, offset: int, whence: int) -> bytes:
    """Return fuse_lseek_in."""
    return _LSEEK.pack(handle, offset, whence, 0)


def reply_header(unique: int, body: bytes = b"", error: int = 0) -> bytes:
    """Return fuse_out_header of a reply with this body."""
    return _OUT_HEADER.pack(_OUT_HEADER.size + len(body), -error, unique)


def size_of(body: bytes) -> int:
    """Return what fuse_write_out says."""
    size: int = struct.unpack("<II", body)[0]
    return size


def offset_of(body: bytes) -> int:
    """Return what fuse_lseek_out says."""
    offset: int = struct.unpack("<Q", body)[0]
    return offset
