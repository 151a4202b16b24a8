"""The kernel's FUSE protocol (linux/fuse.h), as far as a view needs it: requests in, answers out, one at a time.

Written out here because pyfuse3 serves one mount in a process that has trio, and a view answers in 30 µs without.
"""

import errno
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from zramfs import kernel

ROOT_ID: Final = 1

_VERSION: Final = (7, 31)
_BUFFER_BYTES: Final = 1 << 18
_MAX_WRITE: Final = 1 << 17
_FLAGS: Final = 1 << 5 | 1 << 18  # FUSE_BIG_WRITES, FUSE_PARALLEL_DIROPS

_IN_HEADER: Final = struct.Struct("=2I2Q3I4x")
_OUT_HEADER: Final = struct.Struct("=IiQ")
_INIT_OUT: Final = struct.Struct("=4I2H2I36x")
_ATTRIBUTES: Final = struct.Struct("=6Q10I")
_VALIDITY: Final = struct.Struct("=2Q2Q2I")
_DIRENT: Final = struct.Struct("=2Q2I")
_BLOCK_BYTES: Final = 4096


class Operation(IntEnum):
    """enum fuse_opcode: those that are answered, or that want no answer."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    INTERRUPT = 36
    BATCH_FORGET = 42


_UNANSWERED: Final = {Operation.FORGET, Operation.INTERRUPT, Operation.BATCH_FORGET}


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the kernel: what is asked of which node, by whom, and the operation's own bytes."""

    operation: int
    unique: int
    node: int
    uid: int
    gid: int
    body: bytes


Answer = Callable[[Request], bytes]


def mount(target: Path) -> int:
    """Mount a view; the file descriptor that its requests come from. Whoever serves it may be another process."""
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    kernel.mount("fuse", target, f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions")
    return fd


def serve(fd: int, answer: Answer) -> None:
    """Answer requests until the view is unmounted. An OSError of `answer` is the caller's."""
    while True:
        try:
            request = _parse(os.read(fd, _BUFFER_BYTES))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                continue
            raise
        error_number, payload = _answered(request, answer)
        if request.operation not in _UNANSWERED:
            header = _OUT_HEADER.pack(_OUT_HEADER.size + len(payload), -error_number, request.unique)
            with suppress(OSError):  # whoever asked has been killed
                os.write(fd, header + payload)


def _parse(message: bytes) -> Request:
    _, operation, unique, node, uid, gid, _ = _IN_HEADER.unpack_from(message)
    return Request(operation, unique, node, uid, gid, message[_IN_HEADER.size :])


def _answered(request: Request, answer: Answer) -> tuple[int, bytes]:
    if request.operation == Operation.INIT:
        return 0, _INIT_OUT.pack(*_VERSION, 0, _FLAGS, 0, 0, _MAX_WRITE, 1)
    try:
        return 0, answer(request)
    except OSError as error:
        return error.errno or errno.EIO, b""
    except Exception:  # noqa: BLE001 - whatever it is, somebody waits for an answer
        return errno.EIO, b""


def attributes(node: int, status: os.stat_result) -> bytes:
    """Return a struct fuse_attr. A block device's node has been written a moment ago, for all that we know."""
    moments = [status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns]
    if status.st_mode & 0o170000 == 0o060000:
        moments[1] = time.time_ns()
    seconds, fractions = zip(*(divmod(moment, 10**9) for moment in moments), strict=True)
    return _ATTRIBUTES.pack(
        node,
        status.st_size,
        status.st_blocks,
        *seconds,
        *fractions,
        status.st_mode,
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        encode_device(status.st_rdev),
        _BLOCK_BYTES,
        0,
    )


def entry(node: int, status: os.stat_result, valid_s: int) -> bytes:
    """Return a struct fuse_entry_out: how long the kernel may go by it without asking."""
    return _VALIDITY.pack(node, 0, valid_s, valid_s, 0, 0) + attributes(node, status)


def entries(names: list[tuple[str, int]], offset: int, most_bytes: int) -> bytes:
    """Return the directory entries (names and S_IFMT bits) from the one numbered `offset`, as many as fit."""
    return b"".join(_fitting(names, offset, most_bytes))


def _fitting(names: list[tuple[str, int]], offset: int, most_bytes: int) -> Iterator[bytes]:
    for number, (name, kind) in enumerate(names[offset:], offset + 1):
        encoded = os.fsencode(name)
        record = _DIRENT.pack(number + ROOT_ID, number, len(encoded), kind >> 12) + encoded
        record += bytes(-len(record) % 8)
        most_bytes -= len(record)
        if most_bytes < 0:
            return
        yield record


def encode_device(device: int) -> int:
    """Return a device number as the protocol has it (new_encode_dev)."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def decode_device(number: int) -> int:
    """Undo `encode_device`."""
    return os.makedev((number & 0xFFF00) >> 8, (number & 0xFF) | ((number >> 12) & 0xFFF00))
