"""The daemon's end of a process that does the I/O of a backing device (`backing_process`)."""

import errno
import logging
import os
import socket
import subprocess
import sys
from array import array
from collections.abc import Callable, Sequence
from mmap import mmap
from typing import Final

import trio

from zramfs.device.backing_process import (
    ANSWER,
    LIES_ON_OWN_MOUNT,
    MESSAGE_BYTES,
    OPEN,
    OPENED,
    REQUEST,
    SLOT_BYTES,
    SLOTS,
)
from zramfs.device.landing import Landing
from zramfs.device.lineage import OwnMount
from zramfs.errors import LiesOnOwnMount
from zramfs.units import PAGE_SIZE

_log: Final = logging.getLogger(__name__)

_COMMAND: Final = (sys.executable, "-P", "-m", "zramfs.device.backing_process")

_RELEASE_S: Final = 2.0
"""How long a killed process is waited for: one that hangs in a call ends when its device lets it."""


class Transfer:
    """Pages to be written to blocks of a backing device, or to be read from them: as many as a slot takes at most."""

    def __init__(self, blocks: Sequence[int], pages: memoryview | None = None) -> None:
        self.blocks = blocks
        self.pages = pages
        """Those to be written; None for a read."""
        self.contents = b""
        """Those read."""
        self.failures: dict[int, OSError] = {}
        """By their place in `blocks`."""
        self._landing = Landing()

    def finish(self, failures: dict[int, OSError], contents: bytes = b"") -> None:
        """Tell whoever waits how it went."""
        self.failures, self.contents = failures, contents
        self._landing.note(None)

    def fail(self, error: OSError) -> None:
        """Let all its pages fail."""
        self.finish(dict.fromkeys(range(len(self.blocks)), error))

    async def wait(self) -> None:
        """Return when it is done, well or not. Not cancellable."""
        await self._landing.land()


class BackingLink:
    """A process that has a backing device open, `size_bytes` large, and what it has been asked for.

    `place_fd` is an O_PATH descriptor: it names the file, whatever becomes of its path, and holds no device open.
    """

    def __init__(self, process: subprocess.Popen[bytes], link: socket.socket, memory: mmap) -> None:
        self._process = process
        self._process_fd = os.pidfd_open(process.pid)
        self._link = link
        self._memory = memoryview(memory)
        self._free_slots = list(range(SLOTS))
        self._pending: dict[int, Transfer] = {}
        self.size_bytes = 0
        self.place_fd = -1
        self._is_let_go = False
        self.released = trio.Event()
        """The process has ended, or does not after all that time."""

    async def receive_opened(self) -> None:
        """Take the process's word that the backing device is open, or raise its error."""
        await trio.lowlevel.wait_readable(self._link)
        answer, fds, _, _ = socket.recv_fds(self._link, MESSAGE_BYTES, 1)
        if not answer:
            raise OSError(errno.EIO, "its process ended at once")
        number, self.size_bytes = OPENED.unpack_from(answer)
        text = answer[OPENED.size :].decode(errors="surrogateescape")
        if number == LIES_ON_OWN_MOUNT:
            raise LiesOnOwnMount(text)
        if number:
            raise OSError(number, text)
        (self.place_fd,) = fds

    @property
    def has_room(self) -> bool:
        """Whether it takes another transfer."""
        return bool(self._free_slots)

    def begin(self, transfer: Transfer) -> None:
        """Ask for a transfer; there is room."""
        slot = self._free_slots.pop()
        if transfer.pages is not None:
            self._slot_memory(slot, len(transfer.blocks))[:] = transfer.pages
        request = REQUEST.pack(slot, transfer.pages is not None) + array("Q", transfer.blocks).tobytes()
        try:
            self._link.send(request)
        except OSError as error:
            self._free_slots.append(slot)
            transfer.fail(error)
        else:
            self._pending[slot] = transfer

    async def serve(self, on_room: Callable[[], None]) -> None:
        """Take answers until the process has ended; call `on_room` whenever there is room for another transfer."""
        while True:
            await trio.lowlevel.wait_readable(self._link)
            try:
                while answer := self._link.recv(MESSAGE_BYTES):
                    self._note(answer)
                    on_room()
            except BlockingIOError:
                continue
            except ConnectionError:
                return
            return

    def _note(self, answer: bytes) -> None:
        (slot,) = ANSWER.unpack_from(answer)
        transfer = self._pending.pop(slot, None)
        if transfer is None:
            return  # nobody waits for it any more
        numbers = array("H", answer[ANSWER.size :])
        failures = {place: _error(number) for place, number in zip(numbers[::2], numbers[1::2], strict=True)}
        contents = b"" if transfer.pages is not None else self._slot_memory(slot, len(transfer.blocks)).tobytes()
        self._free_slots.append(slot)
        transfer.finish(failures, contents)

    def _slot_memory(self, slot: int, pages: int) -> memoryview:
        return self._memory[slot * SLOT_BYTES :][: pages * PAGE_SIZE]

    def fail_pending(self, error: OSError) -> int:
        """Let all that it was asked for fail, and return how many transfers those are. Their slots stay taken."""
        pending, self._pending = self._pending, {}
        for transfer in pending.values():
            transfer.fail(error)
        return len(pending)

    def release(self) -> None:
        """Let the process end. `released` is set when it has, and has let the device go; or when that takes too long.

        It has had the daemon's last word: a kill costs nothing, and ends one that is stopped. Whoever gives the
        device up may have been preceded by whoever noted the process's death: all but the first call do nothing.
        """
        if self._is_let_go:
            return
        self._is_let_go = True
        self._link.close()
        self._process.kill()
        trio.lowlevel.spawn_system_task(self._reap, name="backing process")

    async def _reap(self) -> None:
        try:
            await self._wait_for_end()
        except Exception:  # noqa: BLE001 - a system task's would end the daemon, and everybody's data with it
            _log.exception("process %d of a backing device is not waited for", self._process.pid)
        finally:
            self.released.set()
            os.close(self._process_fd)

    async def _wait_for_end(self) -> None:
        with trio.move_on_after(_RELEASE_S):
            await trio.lowlevel.wait_readable(self._process_fd)
        if self._process.poll() is None:
            _log.warning("process %d cannot end before its backing device lets it", self._process.pid)
            self.released.set()
            await trio.lowlevel.wait_readable(self._process_fd)
            self._process.wait()


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


async def open_link(path: str, own_mount: OwnMount) -> BackingLink:
    """Start a process that opens the backing device at `path`, which must not lie on `own_mount`; OSError if not."""
    return await _opened(await _start_process(path, own_mount.device))


async def reopen_link(path: str, place_fd: int) -> BackingLink:
    """Start a process that opens a backing device again, by its `place_fd`; OSError if not."""
    return await _opened(await _start_process(path, None, place_fd))


async def _opened(link: BackingLink) -> BackingLink:
    try:
        await link.receive_opened()
    except (OSError, LiesOnOwnMount):
        link.release()
        await link.released.wait()
        raise
    except BaseException:
        link.release()
        raise
    return link


def _spawn(link: socket.socket) -> subprocess.Popen[bytes]:
    """Start a process that has nothing of the daemon's but its end of the link."""
    null = subprocess.DEVNULL
    return subprocess.Popen(_COMMAND, stdin=link.fileno(), stdout=null, stderr=null, start_new_session=True)


async def _start_process(path: str, own_device: int | None, place_fd: int | None = None) -> BackingLink:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory_fd = os.memfd_create("zramfs backing device")
    try:
        os.ftruncate(memory_fd, SLOTS * SLOT_BYTES)
        memory = mmap(memory_fd, SLOTS * SLOT_BYTES)
        ours.settimeout(0)
        message = OPEN.pack(-1 if own_device is None else own_device) + os.fsencode(path)
        socket.send_fds(ours, [message], [memory_fd] if place_fd is None else [memory_fd, place_fd])
        process = await trio.to_thread.run_sync(_spawn, theirs, limiter=trio.CapacityLimiter(1))
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(memory_fd)
    return BackingLink(process, ours, memory)
