"""The writes that may take longer than a turn of the event loop: submitted bit by bit, with others in between."""

from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import trio

from zramfs.zcomp.zcomp import Zcomp

if TYPE_CHECKING:
    from zramfs.device.page_write import PageWrite

_SLICE_NS: Final = 50_000
"""How long they may hold the event loop before it looks for the next request, which takes about 2 µs."""


class LongWrites:
    """Those of one device that are not submitted to the last page: first come, first served.

    Whoever has nothing better to do calls `work`. So large requests wait here, where the next request can pass
    them, and not in the kernel's queue, where it cannot. A synchronous 4K writer beside 1M writes at depth 8, p99: 1.2
    to 2.0 ms when each of those was a task that took turns of 0.2 ms, 0.3 to 0.8 ms so; on per-CPU streams 0.8 to
    1.0, and 0.3 to 0.6 ms.
    """

    def __init__(self, zcomp: Zcomp) -> None:
        self._zcomp = zcomp
        self._writes: deque[PageWrite] = deque()
        self._is_stalled = False
        self._is_closed = False
        self._is_served = True
        self._awaiting_work = trio.lowlevel.ParkingLot()

    def begin(self, write: "PageWrite") -> None:
        """Take a write, which calls back when it is done. The caller will see to it that `work` is called."""
        self._writes.append(write)
        if not self._is_served:
            self._work_off()

    def begin_and_serve(self, write: "PageWrite") -> None:
        """Take a write, and let `serve` do what it takes: the caller is going to wait."""
        self.begin(write)
        self._awaiting_work.unpark_all()

    async def serve(self) -> None:
        """Go on with those that nobody else may go on with, until `close`.

        Cancelled, it ends once they are submitted: whoever waits for them cannot be cancelled.
        """
        try:
            while not self._is_closed:
                await self._go_on()
        finally:
            with trio.CancelScope(shield=True):
                while self._writes:
                    await self._go_on()
            self._is_served = False

    async def _go_on(self) -> None:
        if self.work():
            await trio.lowlevel.checkpoint()
        else:
            await self._awaiting_work.park()

    def close(self) -> None:
        """Let `serve` end. Nothing is in flight."""
        self._is_closed = True
        self._awaiting_work.unpark_all()

    def work(self) -> bool:
        """Submit runs for a while, those of the first write first; False if there are none, or no stream is free.

        What the accelerator takes is compressed while the CPU does the rest, and whatever it has finished is committed
        between two runs on the CPU, so that its descriptors are free for the next.
        """
        if self._is_stalled or not self._writes:
            return False
        ends_ns = monotonic_ns() + _SLICE_NS
        while self._writes and not self._is_stalled:
            self._submit_run()
            self._zcomp.poll_completions()
            if monotonic_ns() > ends_ns:
                break
        return True

    def _submit_run(self) -> None:
        write = self._writes[0]
        if write.has_more and not write.submit_run():
            self._is_stalled = True
            self._zcomp.when_free(self._resume)
        elif not write.has_more:
            self._writes.popleft()
            write.close()

    def _resume(self) -> None:
        """Submit a run here, where a stream was freed: by the time that anybody calls `work` others would have it."""
        self._is_stalled = False
        self._submit_run()
        if not self._is_served:
            self._work_off()
        self._awaiting_work.unpark_all()  # those who call `work` may be asleep

    def _work_off(self) -> None:
        """Submit what there is: nobody will call `work` any more."""
        while self.work():
            pass

    def __repr__(self) -> str:
        return f"<LongWrites {len(self._writes)}{', stalled' if self._is_stalled else ''}>"


class Landing:
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
