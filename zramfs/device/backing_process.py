"""The process that does the I/O of one backing device (`python -m zramfs.device.backing_process`, by `backing_link`).

A call that a device does not answer cannot be ended, not even by SIGKILL, and keeps all that its process has. In the
daemon that would be its memory and the mount. This process has only the backing device, and memory for pages on their
way. It talks to the daemon by messages on its standard input, a socket, and ends when that does.

Its answer to the first message tells whether the backing device is open. Each message after that is a request for a
slot of the shared memory, and one of as many threads answers it when it is done: a block that takes its time does not
hold up the others.
"""

import errno
import fcntl
import os
import signal
import socket
import stat
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from mmap import mmap
from struct import Struct
from typing import Final, NamedTuple

from zramfs.device.lineage import OwnMount
from zramfs.errors import LiesOnOwnMount
from zramfs.units import PAGE_SIZE

SLOTS: Final = 32
"""Requests in the works at a time, each in a thread."""

SLOT_PAGES: Final = 32
"""Pages of a request at most. The shared memory is that of all slots: 4 MiB, as far as it is touched."""

SLOT_BYTES: Final = SLOT_PAGES * PAGE_SIZE

MESSAGE_BYTES: Final = 8192
"""No message is longer; the first has a path."""

OPEN: Final = Struct("=q")
"""The first message: the st_dev of the daemon's own mount, or -1; a path behind it, and the shared memory.

To open again what was open, its descriptor comes as well.
"""

OPENED: Final = Struct("=iQ")
"""The answer: an errno, 0 for success, the size in bytes, and the error's text. The descriptor is an O_PATH one."""

LIES_ON_OWN_MOUNT: Final = -1
"""Stands for an errno: what was to be opened lies on the daemon's own mount."""

REQUEST: Final = Struct("=I?")
"""A slot, and whether it is to be written; behind it the blocks of its pages, 8 bytes each."""

ANSWER: Final = Struct("=I")
"""The slot; behind it, for each page that failed, its place in the slot and the errno, 2 bytes each."""

_STACK_BYTES: Final = 256 << 10
_FLAGS: Final = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC
_IGNORED: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGALRM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

_Failures = list[tuple[int, int]]
"""Places and errnos."""


class Opened(NamedTuple):
    """A backing device that is open and claimed."""

    fd: int
    size_bytes: int


def main() -> None:
    """Serve the daemon at the other end of the standard input."""
    for number in _IGNORED:  # they may be meant for all that a service has, and the daemon still needs its pages
        signal.signal(number, signal.SIG_IGN)
    link = socket.socket(fileno=0)
    message, fds, _, _ = socket.recv_fds(link, MESSAGE_BYTES, 2)
    (own_device,) = OPEN.unpack_from(message)
    try:
        place_fd = fds[1] if len(fds) > 1 else find_place(os.fsdecode(message[OPEN.size :]), own_device)
        opened = open_backing(place_fd)
    except LiesOnOwnMount as error:
        link.send(OPENED.pack(LIES_ON_OWN_MOUNT, 0) + os.fsencode(str(error)))
        return
    except OSError as error:
        link.send(OPENED.pack(error.errno or errno.EIO, 0) + str(error.strerror).encode())
        return
    os.chdir("/")
    server = Server(link, opened.fd, memoryview(mmap(fds[0], SLOTS * SLOT_BYTES)))
    socket.send_fds(link, [OPENED.pack(0, opened.size_bytes)], [place_fd])
    for fd in {*fds, place_fd}:
        os.close(fd)
    _protect()
    server.serve_in_threads()


def find_place(path: str, own_device: int) -> int:
    """Return an O_PATH descriptor of what is at `path`; LiesOnOwnMount if it does, by the st_dev of that (-1: none)."""
    with OwnMount(None if own_device == -1 else own_device).found_elsewhere(path) as fd:
        return os.dup(fd)


def open_backing(place_fd: int) -> Opened:
    """Open the file of an O_PATH descriptor, claim it, and check that it can be a backing device.

    After an OSError the process ends, and its open files with it.
    """
    mode = os.fstat(place_fd).st_mode  # before it is opened, which may do something to a device of another kind
    if not stat.S_ISBLK(mode) and not stat.S_ISREG(mode):
        raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK))
    fd = _open_past_cache(f"/proc/self/fd/{place_fd}")
    _claim(fd, mode)
    return Opened(fd, _size_bytes(fd))


def _open_past_cache(path: str) -> int:
    try:
        return os.open(path, _FLAGS | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.open(path, _FLAGS | os.O_DSYNC)  # a file system without direct I/O


def _claim(fd: int, mode: int) -> None:
    """Let no other device use the same file; O_EXCL does that for block devices."""
    if stat.S_ISREG(mode):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY)) from error


def _size_bytes(fd: int) -> int:
    size_bytes = os.lseek(fd, 0, os.SEEK_END)
    if size_bytes < PAGE_SIZE:
        raise OSError(errno.EINVAL, "it has less than a page")
    return size_bytes


def _protect() -> None:
    """Stay in memory, and be spared by the OOM killer, as far as privileges go: swap may come to lie in the device.

    The daemon does so when it is told of swap; this process is not told, and always locks its 20 MiB.
    """
    from zramfs.process import NotPrivileged, SwapGuard  # noqa: PLC0415 - nobody waits for it any more

    with suppress(NotPrivileged):
        SwapGuard().turn_on()


class Server:
    """Answers requests for the open file `fd`; each has its slot of `memory`."""

    def __init__(self, link: socket.socket, fd: int, memory: memoryview) -> None:
        self._link = link
        self._fd = fd
        self._memory = memory

    def serve_in_threads(self) -> None:
        """Let this thread and some others serve; the process ends with the first of them, whatever the others do."""
        threading.stack_size(_STACK_BYTES)
        for _ in range(SLOTS - 1):
            threading.Thread(target=self.serve_to_the_end, daemon=True).start()
        self.serve_to_the_end()

    def serve_to_the_end(self) -> None:
        """Serve, and end the process when the daemon ends the link."""
        try:
            self.serve()
        finally:
            os._exit(0)

    def serve(self) -> None:
        """Answer one request after the other until the other end closes the link."""
        with suppress(ConnectionError):
            while message := self._link.recv(MESSAGE_BYTES):
                self._link.send(self._answer(message))

    def _answer(self, message: bytes) -> bytes:
        slot, is_write = REQUEST.unpack_from(message)
        blocks = array("Q", message[REQUEST.size :])
        pages = self._memory[slot * SLOT_BYTES :][: len(blocks) * PAGE_SIZE]
        failures = self._transfer_runs(os.pwritev if is_write else os.preadv, pages, blocks)
        return ANSWER.pack(slot) + array("H", [number for failure in failures for number in failure]).tobytes()

    def _transfer_runs(self, transfer: "_Transfer", pages: memoryview, blocks: Sequence[int]) -> _Failures:
        failures: _Failures = []
        for first, end in _runs(blocks):
            if self._transfer(transfer, pages[first * PAGE_SIZE : end * PAGE_SIZE], blocks[first]):
                failures += self._transfer_each(transfer, pages, blocks, range(first, end))
        return failures

    def _transfer_each(
        self, transfer: "_Transfer", pages: memoryview, blocks: Sequence[int], places: range
    ) -> Iterator[tuple[int, int]]:
        """One page at a time, so that a bad block fails no other."""
        for place in places:
            error_number = self._transfer(transfer, pages[place * PAGE_SIZE : (place + 1) * PAGE_SIZE], blocks[place])
            if error_number:
                yield place, error_number

    def _transfer(self, transfer: "_Transfer", pages: memoryview, block: int) -> int:
        """Return 0, or an errno."""
        offset_bytes = block * PAGE_SIZE
        while pages:
            try:
                count = transfer(self._fd, [pages], offset_bytes)
            except OSError as error:
                return error.errno or errno.EIO
            if count == 0:
                return errno.EIO  # it has become shorter
            pages = pages[count:]
            offset_bytes += count
        return 0


_Transfer = Callable[[int, list[memoryview], int], int]
"""preadv or pwritev."""


def _runs(blocks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Cut places into runs whose blocks follow each other: the first place of each, and the one behind its last."""
    first = 0
    for place in range(1, len(blocks) + 1):
        if place == len(blocks) or blocks[place] != blocks[place - 1] + 1:
            yield first, place
            first = place


if __name__ == "__main__":
    main()
