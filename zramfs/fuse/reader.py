"""How pyfuse3 waits for the next request: polling for a bounded time before it asks the event loop.

pyfuse3 takes everything of trio from its module attribute `trio` (its asyncio mode replaces it in the same way), and
spends four system calls and two turns of the event loop between two requests. `PollingTrio` stands there instead and
takes both out as long as requests follow each other closely.
"""

import select
from collections.abc import Callable
from time import monotonic_ns
from types import SimpleNamespace
from typing import Final

import trio

from zramfs.fuse.spin import wait_for_events

_TURN_NS: Final = 500_000
"""How long requests may follow each other before other tasks have their turn, which costs 13 µs.

Longer than a slice of large writes (`device`): requests should be taken faster than large ones are worked off, or those
that come wait behind them. A synchronous 4K writer beside 1M writes at depth 8, measured when those had turns of
200 µs: p99 0.6 to 1.2 ms; with 200 µs here as well, 1.0 to 6.7.
"""

_QUIET_TURN_NS: Final = 800_000
"""The same while all requests are answered at once: nobody waits for an accelerator then."""

AnswerSome = Callable[[int, int], bool | None]
"""The companion's `answer_some`: until when on the monotonic clock, and how long to poll, both in ns."""


class ReadLock:
    """Lets one task at a time wait for a request. Unlike trio's, taking it when it is free is not a checkpoint.

    The task that lets it go may take it again before the one that it wakes: that one then waits on, in reserve for
    the moment when a handler has to wait for something.
    """

    def __init__(self) -> None:
        self._is_held = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        while self._is_held:
            await self._waiting.park()
        self._is_held = True

    async def __aexit__(self, *_: object) -> None:
        self._is_held = False
        if self._waiting:
            self._waiting.unpark()


class PollingTrio:
    """What pyfuse3 needs of trio, with a `wait_readable` that polls for up to `budget_us` microseconds first.

    It polls only while that pays: after a wait that ended in vain, not before requests come closer than the budget
    again. An idle mount is never polled. `answer_some` is the companion's, if it is there: it answers requests before
    pyfuse3 sees them. `help_devices` is what to do while no request comes, a few microseconds at a time; False if there
    is nothing. `session_ended` is called when the kernel has given the session up, unless the companion does that.
    """

    ClosedResourceError = trio.ClosedResourceError
    Lock = ReadLock
    open_nursery = staticmethod(trio.open_nursery)

    def __init__(
        self,
        budget_us: int,
        *,
        answer_some: AnswerSome | None = None,
        help_devices: Callable[[], bool] = lambda: False,
        session_ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._answer_some = answer_some
        self._help_devices = help_devices
        self._session_ended = session_ended
        self._budget_ns = budget_us * 1000
        self._turn_ns = _TURN_NS
        self._turn_ends_ns = 0
        self._pays = True
        self._can_help = False
        self._is_crowded = False
        self._is_closed = False
        self.lowlevel = SimpleNamespace(
            current_task=trio.lowlevel.current_task,
            current_trio_token=trio.lowlevel.current_trio_token,
            notify_closing=trio.lowlevel.notify_closing,
            wait_readable=self.wait_readable,
        )

    def close(self) -> None:
        """Let the next wait raise ClosedResourceError: the session is about to end, and may do so between two waits."""
        self._is_closed = True

    async def wait_readable(self, fd: int) -> None:
        """Return when there is a request for pyfuse3 to read."""
        while True:
            if monotonic_ns() > self._turn_ends_ns:
                await self._let_others_run()
            if self._is_closed:
                raise trio.ClosedResourceError
            found = self._look_for_request(fd)
            if found:
                self._turn_ns = _TURN_NS
                self._can_help = True
                return
            if found is False:
                await self._pass_time(fd)

    def _look_for_request(self, fd: int) -> bool | None:
        """Whether there is a request for pyfuse3; None if others should have their turn before that is known."""
        may_spin = self._pays and not self._is_crowded and not self._can_help
        spin_ns = self._budget_ns if may_spin else 0
        if self._answer_some is not None:
            return self._answer_some(self._turn_ends_ns, spin_ns)
        events = wait_for_events(fd, spin_ns)
        if events & select.POLLERR:  # fuse_dev_poll: not connected any more
            self._session_ended()
        return events != 0

    async def _pass_time(self, fd: int) -> None:
        """There is no request: help the devices, or let others run; when nobody needs that either, sleep."""
        could_help, self._can_help = self._can_help, self._help_devices()
        if self._can_help:
            return
        if could_help or self._is_crowded:  # what is done now may have somebody waiting for it
            await self._let_others_run()
        else:
            await self._sleep(fd)

    async def _sleep(self, fd: int) -> None:
        began_ns = monotonic_ns()
        await trio.lowlevel.wait_readable(fd)
        now_ns = monotonic_ns()
        self._pays = now_ns - began_ns < self._budget_ns
        self._turn_ends_ns = now_ns + self._turn_ns

    async def _let_others_run(self) -> None:
        """Give everybody who can run a turn, and note whether they want another: then polling would only delay them."""
        self._can_help = self._help_devices()  # however many requests there are
        await trio.lowlevel.checkpoint()
        self._is_crowded = trio.lowlevel.current_statistics().tasks_runnable > 0
        self._turn_ends_ns = monotonic_ns() + self._turn_ns
        self._turn_ns = _QUIET_TURN_NS
