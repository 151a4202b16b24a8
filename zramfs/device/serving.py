"""The event loop's part in requests: its own ones, and those that receivers leave to it.

A bio comes here that has to wait for the backing device, or whose codec or streams are Python's. Each is ended once,
also when it is cancelled; what streams have in hand is waited for.
"""

import errno
import logging
from collections.abc import Callable
from contextlib import suppress
from time import monotonic_ns
from typing import Final

import trio

from zramfs.block.disk import Disk
from zramfs.block.layer import BlockLayer
from zramfs.block.page_upkeep import written_back
from zramfs.block.request import Outcome, Request, TrioBio, take_bios
from zramfs.device.landing import Landing
from zramfs.device.writeback import Writeback
from zramfs.errors import ZramError

_log: Final = logging.getLogger(__name__)

_LEFT: Final = (Outcome.FOR_TRIO, Outcome.HAS_MORE)
"""Outcomes that leave something to do here."""

_TURN_NS: Final = 200_000
"""How long bios are worked on before others have their turn."""

_POLL_S: Final = 0.001
"""How often the inbox is looked at when everything ends."""


class BioServer:
    """Goes on with the bios of the disks of one layer, as long as `serve` runs."""

    def __init__(self, layer: BlockLayer) -> None:
        self.layer = layer
        self._writebacks: dict[Disk, Writeback] = {}
        self._awaited = 0
        """Requests whose tasks wait for another thread to end them."""
        self._is_served = False

    def add(self, disk: Disk, writeback: Writeback) -> None:
        """Serve the bios of a disk, some of whose pages may be in this backing device."""
        self._writebacks[disk] = writeback

    def remove(self, disk: Disk) -> None:
        """Forget a disk, of which nothing is in flight."""
        del self._writebacks[disk]

    async def serve(self) -> None:
        """Take what other threads leave, until cancelled; then end what is there, and await what streams have."""
        self._is_served = True
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    await trio.lowlevel.wait_readable(self.layer.inbox.fd)
                    await self._take(nursery)
        finally:
            self._is_served = False
            await self._settle(lambda: self._awaited == 0)

    async def _take(self, nursery: trio.Nursery) -> None:
        """Go on with each that has come: where it needs no waiting at once, and otherwise in a task of its own."""
        turn_ends_ns = monotonic_ns() + _TURN_NS
        for bio in take_bios(self.layer.inbox):
            if bio.has_ended:
                bio.tell()
            elif bio.go_on() in _LEFT:
                nursery.start_soon(self._finish_for_others, bio)
            if monotonic_ns() > turn_ends_ns:
                await trio.lowlevel.cancel_shielded_checkpoint()
                turn_ends_ns = monotonic_ns() + _TURN_NS

    async def _settle(self, is_over: Callable[[], bool]) -> None:
        """Without `serve`: take what other threads leave until then. Nobody waits for the backing device any more."""
        with trio.CancelScope(shield=True):
            while True:
                for bio in take_bios(self.layer.inbox):
                    if bio.has_ended:
                        bio.tell()
                    elif not await self._work_on(bio):
                        bio.finish(errno.EIO)
                if is_over():
                    return
                await trio.sleep(_POLL_S)

    async def _finish_for_others(self, bio: TrioBio) -> None:
        """End a bio that nobody here waits for, or let go of it."""
        disk = bio.disk
        try:
            with suppress(ZramError):
                await self._finish(bio)
        except Exception:  # noqa: BLE001 - the bio has its error, and the mount goes on
            _log.exception("%s: a request failed", disk.name)

    async def perform(self, disk: Disk, request: Request) -> int:
        """Submit a request of the event loop's; how many bytes it read or wrote, or the error with which it failed."""
        if request.submit(disk) in _LEFT:
            await self._finish(request)
        if not request.has_ended:
            await self._land(request)
        return request.result()

    async def _land(self, request: Request) -> None:
        """Return when a request has ended, which is soon."""
        landing = Landing()
        request.on_ended = landing.note
        self._awaited += 1
        try:
            if not self._is_served:
                await self._settle(lambda: landing.has_landed)
            await landing.land()
        finally:
            self._awaited -= 1

    async def _finish(self, bio: TrioBio) -> None:
        """Do what there is to do until the bio has ended, or will on another thread; raise if it fails here."""
        while not await self._work_on(bio):
            writeback = self._writebacks[bio.disk]
            try:
                if bio.operation == "read":
                    await writeback.read_into(bio.disk, bio.offset_bytes, bio.data)
                    bio.finish()
                    return
                await self._patch_edges(bio, writeback)
            except BaseException as error:
                bio.finish(error.errno if isinstance(error, ZramError) else errno.EIO)
                raise

    async def _work_on(self, bio: TrioBio) -> bool:
        """Do all that needs no waiting, and let others have their turn; False if a page is in the backing device.

        Not cancellable: streams may have some of its data.
        """
        while (outcome := bio.go_on()) == Outcome.HAS_MORE:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return outcome != Outcome.FOR_TRIO

    async def _patch_edges(self, bio: TrioBio, writeback: Writeback) -> None:
        """Patch those partial pages that are in the backing device; of another one `go_on` sees to it."""
        for edge in bio.missing_edges():
            page = edge[0]
            for written in written_back(bio.disk.table, page, page + 1):
                fetched = await writeback.fetch(bio.disk, [written])
                bio.patch_edge(edge, fetched[page], written.block)
