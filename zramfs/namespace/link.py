"""The daemon's end of the link to a keeper, which makes block devices of the devices in a namespace of its own."""

import errno
import logging
import os
import socket
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from zramfs.device.device import ZramDevice
from zramfs.device.device_set import DeviceSet
from zramfs.device.lineage import OwnMount
from zramfs.errors import CommandFailed, DeviceBusy, ZramError
from zramfs.namespace.protocol import (
    ATTACH,
    DETACH,
    FORGET,
    READY,
    Answer,
    Lines,
    Peer,
    ProtocolBroken,
    Request,
    parse_block_device,
)

_log: Final = logging.getLogger(__name__)

_ANSWER_S: Final = 10.0
"""How long a keeper may take for an answer; then it has been stopped, and the daemon goes on without it."""

_CONNECT_S: Final = 5.0
_MOST_BYTES: Final = 4096
_NO_BLOCK_DEVICE: Final = "0:0"
_ROOT: Final = 0


class NotOurKeeper(ZramError):  # noqa: N818
    """Somebody listens at the socket who is neither root nor the daemon's user."""

    errno = errno.EPERM


class KeeperLink:
    """Lets `devices` have block devices while a keeper is there: one at a time, or a device would have two views.

    Its socket must not lie on `own_mount`: to look for it there would mean to wait for ourselves.
    """

    def __init__(self, devices: DeviceSet, nursery: trio.Nursery, own_mount: OwnMount | None = None) -> None:
        self._devices = devices
        self._nursery = nursery
        self._own_mount = own_mount or OwnMount()
        self._connecting = trio.CapacityLimiter(1)  # threads, of our own: others may be held by whatever hangs
        self._is_taken = False
        self._stream: trio.SocketStream
        self._asking = trio.Lock()
        self._is_awaiting = False
        self._answers: trio.MemoryReceiveChannel[Answer]
        self._scope = trio.CancelScope()
        self.keeper_pid = 0
        """The process that began the namespace; 0 while there is none."""

    async def connect(self, path: str) -> None:
        """Connect to the keeper that listens at `path`, an absolute one; DeviceBusy while there is another.

        NotOurKeeper if it is neither root's nor our user's.
        """
        if self._is_taken:
            raise DeviceBusy(f"process {self.keeper_pid} shows the devices in a namespace already")
        self._is_taken = True
        try:
            connected = await self._connect(path)
        except BaseException:
            self._is_taken = False
            raise
        self.keeper_pid = Peer.of(connected).pid
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(connected))
        self._scope = trio.CancelScope()
        self._nursery.start_soon(self._serve, self._stream)

    async def _connect(self, path: str) -> socket.socket:
        connect = partial(_connect, path, self._own_mount)
        try:
            return await trio.to_thread.run_sync(connect, abandon_on_cancel=True, limiter=self._connecting)
        except OSError as error:
            raise CommandFailed(f"nobody listens at {path}: {error}") from error

    def close(self) -> None:
        """Let the keeper go."""
        self._scope.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Hand answers over until either side ends the link."""
        answers, self._answers = trio.open_memory_channel[Answer](1)
        self._is_awaiting = False
        try:
            with self._scope:
                async with stream, answers, trio.open_nursery() as nursery:
                    nursery.start_soon(self._introduce)
                    await self._receive_answers(stream, answers)
                    nursery.cancel_scope.cancel()
        finally:
            self._devices.block_devices = None
            for device in self._devices:
                device.block_device = _NO_BLOCK_DEVICE
            self._is_taken = False
            self.keeper_pid = 0

    async def _receive_answers(self, stream: trio.SocketStream, answers: trio.MemorySendChannel[Answer]) -> None:
        """Receive until the keeper goes, or says what nobody asked it."""
        lines = Lines()
        try:
            with suppress(trio.BrokenResourceError):
                while received := await stream.receive_some(_MOST_BYTES):
                    for line in lines.feed(received):
                        answers.send_nowait(self._expected(line))
        except ProtocolBroken as error:
            _log.warning("the keeper does not speak our language, and is left alone: %s", error)

    def _expected(self, line: bytes) -> Answer:
        """Read the answer to what we have asked; ProtocolBroken if there is nothing that it could answer."""
        if not self._is_awaiting:
            raise ProtocolBroken("an answer that nobody has asked for")
        self._is_awaiting = False
        return Answer.parse(line)

    async def _introduce(self) -> None:
        try:
            await self._devices.use_block_devices(self)
            await self._ask(Request(READY))
        except ZramError as error:
            _log.warning("the keeper has no block devices: %s", error)
            self.close()

    # ---- what a DeviceSet asks for ---------------------------------------------------------------------------------

    async def attach(self, device: ZramDevice) -> None:
        """Let a block device stand for the device."""
        answer = await self._ask(Request(ATTACH, device.name))
        try:
            device.block_device = parse_block_device(answer) if answer else _NO_BLOCK_DEVICE
        except ProtocolBroken as error:
            _log.warning("the keeper does not speak our language, and is left alone: %s", error)
            self.close()

    async def detach(self, device: ZramDevice) -> None:
        """Let go of the device; DeviceBusy if somebody uses its block device."""
        await self._ask(Request(DETACH, device.name))

    async def forget(self, device: ZramDevice) -> None:
        """Take the block device of a device away that has been removed."""
        await self._ask(Request(FORGET, device.name))

    async def _ask(self, request: Request) -> str:
        """Return what the keeper says; its error is raised. Nothing when it has gone: then nobody sees the device."""
        answer = Answer()
        async with self._asking:
            try:
                with trio.fail_after(_ANSWER_S):
                    self._is_awaiting = True
                    await self._stream.send_all(request.line())
                    answer = await self._answers.receive()
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
                return ""
            except trio.TooSlowError:
                _log.warning("the keeper does not answer, and is left alone")
                self.close()
        if answer.error_number:
            error = CommandFailed(answer.text)
            error.errno = answer.error_number
            raise error
        return answer.text


def _connect(path: str, own_mount: OwnMount) -> socket.socket:
    """Connect to a socket that is not on our mount; OSError, LiesOnOwnMount or NotOurKeeper if that cannot be."""
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.settimeout(_CONNECT_S)
        with own_mount.found_elsewhere(path) as found_fd:
            connected.connect(f"/proc/self/fd/{found_fd}")
        _require_ours(Peer.of(connected), path)
    except BaseException:
        connected.close()
        raise
    return connected


def _require_ours(peer: Peer, path: str) -> None:
    if peer.uid not in (_ROOT, os.geteuid()):
        raise NotOurKeeper(f"process {peer.pid} of user {peer.uid} listens at {path}")
