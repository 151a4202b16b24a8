"""The driver of the emulated accelerator: managed streams over a descriptor ring, and completions for trio."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Final

import trio

from zramfs.accel.profile import Profile
from zramfs.accel.ring import DescriptorRing
from zramfs.codec.run import CompressedRun, PageCodec
from zramfs.errors import AcceleratorUnavailable

_log: Final = logging.getLogger(__name__)


class EmulatedAccelerator:
    """A device like `profile` says; an `Accelerator` for any backend that wants to manage streams."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def attach(self, create_context: Callable[[], PageCodec]) -> "AcceleratorDriver":
        """Start the engines, each with a context of its own; AcceleratorUnavailable if the system refuses."""
        engines = self._profile.engines or len(os.sched_getaffinity(0))
        try:
            contexts = [create_context() for _ in range(engines)]
            ring = DescriptorRing(self._profile.queue_depth, create_context(), contexts)
        except (OSError, RuntimeError, MemoryError) as error:
            raise AcceleratorUnavailable(f"accelerator {self._profile.name}: {error}") from error
        return AcceleratorDriver(self._profile, ring)

    def __repr__(self) -> str:
        return f"<EmulatedAccelerator {self._profile.name}>"


class ManagedStream:
    """A stream whose run takes one descriptor of the device's queue for each page."""

    __slots__ = ("_driver", "_number", "_waiter", "is_complete", "run")

    def __init__(self, driver: "AcceleratorDriver", number: int, max_pages: int) -> None:
        self._driver = driver
        self._number = number
        self._waiter: trio.lowlevel.Task | None = None
        self.run = CompressedRun(max_pages)
        self.is_complete = True

    def submit(self, source: bytes, offset_bytes: int, pages: int) -> int:
        """Take as many pages as there are descriptors; a run that is short enough is complete at once."""
        driver = self._driver
        if pages <= driver.polled_run_pages:
            return driver.ring.compress_polled(self.run, source, offset_bytes, pages)
        self.is_complete = False
        return driver.ring.submit(self._number, self.run, source, offset_bytes, pages)

    async def wait_complete(self) -> None:
        """Park the task until the device has finished the run, whoever cancels it meanwhile."""
        if not self.is_complete:
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(_refuse_to_abort)

    def complete(self) -> None:
        """Note that the device has finished the run, and wake its waiter."""
        self.is_complete = True
        if self._waiter is not None:
            trio.lowlevel.reschedule(self._waiter)
            self._waiter = None

    def __repr__(self) -> str:
        return f"<ManagedStream {self._number} {'complete' if self.is_complete else 'in flight'}>"


def _refuse_to_abort(_raise_cancel: Callable[[], None]) -> trio.lowlevel.Abort:
    """The device writes to the run's scratch and reads the request's bytes: both stay until it is done."""
    return trio.lowlevel.Abort.FAILED


class AcceleratorDriver:
    """Preallocated streams over one ring. A `StreamManager`."""

    def __init__(self, profile: Profile, ring: DescriptorRing) -> None:
        self._profile = profile
        self.ring = ring
        self.polled_run_pages = profile.polled_run_pages
        self._streams = [ManagedStream(self, number, ring.queue_depth) for number in range(ring.queue_depth)]
        self._free_streams = self._streams.copy()
        self._queue_full = 0

    @property
    def stream_count(self) -> int:
        """As many as descriptors: each run in flight needs at least one."""
        return len(self._streams)

    def get_stream(self) -> ManagedStream | None:
        """Return a free stream, or None while every descriptor is taken."""
        if self.ring.free_descriptors:
            return self._free_streams.pop()
        self._queue_full += 1
        return None

    def put_stream(self, stream: ManagedStream) -> None:
        """Give the stream's descriptors back to the queue."""
        self.ring.retire(stream.run)
        self._free_streams.append(stream)

    async def serve_completions(self) -> None:
        """Wait for the device's interrupt, complete the runs that it names, and again."""
        while True:
            try:
                await trio.lowlevel.wait_readable(self.ring.completion_fd)
            except trio.ClosedResourceError:
                return
            for number in self.ring.reap():
                self._streams[number].complete()

    def statistics(self) -> Mapping[str, int | str]:
        """The profile's numbers, as they are in force, and what the device did, in pages and events."""
        ring = self.ring
        return {
            "profile": self._profile.name,
            "queue_depth": ring.queue_depth,
            "engines": ring.engines,
            "polled_run_pages": self.polled_run_pages,
            "submitted_pages": ring.submitted_pages,
            "polled_pages": ring.polled_pages,
            "doorbells": ring.doorbells,
            "interrupts": ring.interrupts,
            "queue_full": self._queue_full,
            "inflight": ring.inflight,
            "inflight_max": ring.inflight_max,
        }

    def close(self) -> None:
        """Stop the engines and end `serve_completions`."""
        if self.ring.inflight:
            _log.error("the accelerator is closed with %d pages in flight", self.ring.inflight)
        trio.lowlevel.notify_closing(self.ring.completion_fd)
        self.ring.close()

    def __repr__(self) -> str:
        return f"<AcceleratorDriver {self._profile.name} {self.ring!r}>"
