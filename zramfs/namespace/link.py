"""The daemon's end of the link to a keeper, which makes block devices of the devices in a namespace of its own.

Requests and answers are lines: `attach zram0`, `detach zram0`, `forget zram0` or `ready`; an errno, 0 for success, and
behind it major:minor or a reason. The daemon asks one thing at a time.
"""

import logging
import socket
import struct
from typing import Final

import trio

from zramfs.device.device import ZramDevice
from zramfs.device.device_set import DeviceSet
from zramfs.errors import CommandFailed, DeviceBusy, ZramError
from zramfs.namespace.protocol import READY

_log: Final = logging.getLogger(__name__)

_ANSWER_S: Final = 10.0
"""How long a keeper may take for an answer; then it has been stopped, and the daemon goes on without it."""

_MOST_BYTES: Final = 4096
_NO_BLOCK_DEVICE: Final = "0:0"
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


class KeeperLink:
    """Lets `devices` have block devices while a keeper is there: one at a time, or a device would have two views."""

    def __init__(self, devices: DeviceSet, nursery: trio.Nursery) -> None:
        self._devices = devices
        self._nursery = nursery
        self._is_taken = False
        self._stream: trio.SocketStream
        self._answers: trio.MemoryReceiveChannel[str]
        self._scope = trio.CancelScope()
        self.keeper_pid = 0
        """The process that began the namespace; 0 while there is none."""

    async def connect(self, path: str) -> None:
        """Connect to the keeper that listens at `path`; DeviceBusy while there is another."""
        if self._is_taken:
            raise DeviceBusy(f"process {self.keeper_pid} shows the devices in a namespace already")
        self._is_taken = True
        try:
            self._stream = await trio.open_unix_socket(path)
        except OSError as error:
            self._is_taken = False
            raise CommandFailed(f"nobody listens at {path}: {error}") from error
        credentials = self._stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.keeper_pid, _, _ = _CREDENTIALS.unpack(credentials)
        self._scope = trio.CancelScope()
        self._nursery.start_soon(self._serve, self._stream)

    def close(self) -> None:
        """Let the keeper go."""
        self._scope.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Hand answers over until either side ends the link."""
        answers, self._answers = trio.open_memory_channel[str](1)
        try:
            with self._scope:
                async with stream, answers, trio.open_nursery() as nursery:
                    nursery.start_soon(self._introduce)
                    await _receive_lines(stream, answers)
                    nursery.cancel_scope.cancel()
        finally:
            self._devices.block_devices = None
            for device in self._devices:
                device.block_device = _NO_BLOCK_DEVICE
            self._is_taken = False
            self.keeper_pid = 0

    async def _introduce(self) -> None:
        try:
            await self._devices.use_block_devices(self)
            await self._ask(READY)
        except ZramError as error:
            _log.warning("the keeper has no block devices: %s", error)
            self.close()

    # ---- what a DeviceSet asks for ---------------------------------------------------------------------------------

    async def attach(self, device: ZramDevice) -> None:
        """Let a block device stand for the device."""
        device.block_device = await self._ask(f"attach {device.name}") or _NO_BLOCK_DEVICE

    async def detach(self, device: ZramDevice) -> None:
        """Let go of the device; DeviceBusy if somebody uses its block device."""
        await self._ask(f"detach {device.name}")

    async def forget(self, device: ZramDevice) -> None:
        """Take the block device of a device away that has been removed."""
        await self._ask(f"forget {device.name}")

    async def _ask(self, request: str) -> str:
        """Return what the keeper says; its error is raised. Nothing when it has gone: then nobody sees the device."""
        answer = "0"
        try:
            with trio.fail_after(_ANSWER_S):
                await self._stream.send_all(f"{request}\n".encode())
                answer = await self._answers.receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
            return ""
        except trio.TooSlowError:
            _log.warning("the keeper does not answer, and is left alone")
            self.close()
        number, _, text = answer.partition(" ")
        if number != "0":
            error = CommandFailed(text)
            error.errno = int(number)
            raise error
        return text


async def _receive_lines(stream: trio.SocketStream, lines: trio.MemorySendChannel[str]) -> None:
    unread = b""
    try:
        while received := await stream.receive_some(_MOST_BYTES):
            *whole, unread = (unread + received).split(b"\n")
            for line in whole:
                await lines.send(line.decode())
    except trio.BrokenResourceError:
        return
