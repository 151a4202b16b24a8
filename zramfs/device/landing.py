"""Where a task waits for the end of what it has begun, and cannot take back."""

import trio


class Landing:
    """The end of one thing."""

    def __init__(self) -> None:
        self.has_landed = False
        """Whether it has ended."""
        self._failure: Exception | None = None
        self._waiter: trio.lowlevel.Task | None = None

    def note(self, failure: Exception | None = None) -> None:
        """Take the outcome."""
        self.has_landed, self._failure = True, failure
        if self._waiter is not None:
            trio.lowlevel.reschedule(self._waiter)

    async def land(self) -> None:
        """Return when it has ended, or raise its failure. Not cancellable: the caller's memory is in use until then."""
        if not self.has_landed:
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        if self._failure is not None:
            raise self._failure
