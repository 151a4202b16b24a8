"""The writes that may take longer than a turn of the event loop: runs of whole pages, with others in between."""

from time import monotonic_ns
from typing import Final

import trio

from zramfs.bio import WriteBio
from zramfs.device.page_store import PageStore
from zramfs.device.page_write import PageWrite
from zramfs.device.trace import TracedRequest
from zramfs.zcomp.zcomp import Zcomp

_TURN_NS: Final = 200_000
"""How long a large bio may hold the event loop before others have their turn, which costs it about 10 µs."""


class LongWrites:
    """Stores runs of one device, of which one goes on at a time once it has had its first turn."""

    def __init__(self) -> None:
        self._turn = trio.Lock()

    async def store(
        self,
        store: PageStore,
        bio: WriteBio,
        *,
        first_page: int,
        begin: int,
        pages: int,
        request: TracedRequest | None,
    ) -> None:
        """Compress and commit whole pages, those at `begin` in the bio's data, stream by stream.

        What the accelerator takes is compressed while the CPU does the rest, and whatever it has finished is committed
        between two runs on the CPU, so that its descriptors are free for the next.

        Of the bios that are not done with their first turn one goes on at a time: were each to take its turns, the next
        request would wait for all of them. A synchronous 4K writer beside 1M writes at depth 8 (p50, p99): 3.5 and
        6.2 ms so, 0.01 and 0.9 ms one at a time; on per-CPU streams 9.4 and 11.5 ms, and 0.02 and 1.2 ms.
        """
        zcomp = store.zcomp
        landing = _Landing()
        write = PageWrite(
            store,
            bio.data,
            offset_bytes=begin,
            page=first_page,
            pages=pages,
            is_async=bio.is_async,
            on_done=landing.note,
            request=request,
        )
        turn_ends_ns = monotonic_ns() + (0 if self._turn.locked() else _TURN_NS)
        is_long = False
        try:
            while write.has_more:
                if not write.submit_run():
                    await _submit_when_free(zcomp, write)
                zcomp.poll_completions()
                if monotonic_ns() < turn_ends_ns:
                    continue
                if is_long:
                    await trio.lowlevel.checkpoint()
                else:
                    await self._turn.acquire()
                    is_long = True
                turn_ends_ns = monotonic_ns() + _TURN_NS
        finally:
            if is_long:
                self._turn.release()
            write.close()
            await landing.land()


class _Landing:
    """Where a bio's own task waits for its last run."""

    def __init__(self) -> None:
        self._has_landed = False
        self._failure: Exception | None = None
        self._waiter: trio.lowlevel.Task | None = None

    def note(self, failure: Exception | None) -> None:
        """Take the outcome."""
        self._has_landed, self._failure = True, failure
        if self._waiter is not None:
            trio.lowlevel.reschedule(self._waiter)

    async def land(self) -> None:
        """Return when every run is committed, or raise the first failure.

        Not cancellable: the device still reads the bio's data, and will be done soon.
        """
        if not self._has_landed:
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        if self._failure is not None:
            raise self._failure


async def _submit_when_free(zcomp: Zcomp, write: PageWrite) -> None:
    """Return when the write's next run is submitted, as soon as a stream is free. Not cancellable: that is soon.

    Submitted by whoever frees the stream: by the time that this task runs others would have taken it, again and again.
    """
    task = trio.lowlevel.current_task()

    def submit() -> None:
        if write.submit_run():
            trio.lowlevel.reschedule(task)
        else:
            zcomp.when_free(submit)

    zcomp.when_free(submit)
    await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
