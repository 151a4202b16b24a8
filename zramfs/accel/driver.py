"""The driver of the emulated accelerator: managed streams over a descriptor ring, and completions for trio."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Final

import trio

from zramfs.accel.profile import Profile
from zramfs.accel.ring import DescriptorRing
from zramfs.codec.run import CompressedRun, PageCodec
from zramfs.contracts import Stream
from zramfs.errors import AcceleratorUnavailable

_log: Final = logging.getLogger(__name__)

_MAX_RUN_PAGES: Final = 256
"""The longest run of a stream: FUSE's largest write (1 MiB). A run costs 32 bytes a page, in every stream."""


class EmulatedAccelerator:
    """A device like `profile` says; an `Accelerator` for any backend that wants to manage streams."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._engines = profile.engines or len(os.sched_getaffinity(0))

    def settings(self) -> Mapping[str, int | str]:
        """The profile's name and its numbers as they are in force here."""
        numbers = {key: setting.value for key, setting in self._profile.settings.items()}
        return {"profile": self._profile.name, **numbers, "engines": self._engines}

    def attach(self, create_context: Callable[[], PageCodec]) -> "AcceleratorDriver":
        """Start the engines, each with a context of its own; AcceleratorUnavailable if the system refuses."""
        depth = self._profile.queue_depth
        try:
            contexts = [create_context() for _ in range(self._engines)]
            runs = [CompressedRun(min(depth, _MAX_RUN_PAGES)) for _ in range(depth)]
            ring = DescriptorRing(depth, create_context(), contexts)
        except (OSError, RuntimeError, MemoryError) as error:
            raise AcceleratorUnavailable(f"accelerator {self._profile.name}: {error}") from error
        return AcceleratorDriver(self._profile, ring, runs)

    def __repr__(self) -> str:
        return f"<EmulatedAccelerator {self._profile.name}>"


class ManagedStream:
    """A stream whose run takes one descriptor of the device's queue for each page."""

    __slots__ = ("_callback", "_driver", "_number", "is_complete", "run")

    def __init__(self, driver: "AcceleratorDriver", number: int, run: CompressedRun) -> None:
        self._driver = driver
        self._number = number
        self._callback: Callable[[], None] | None = None
        self.run = run
        self.is_complete = True

    def submit(self, source: bytes, offset_bytes: int, pages: int) -> int:
        """Take as many pages as there are descriptors; a run that is short enough is complete at once."""
        driver = self._driver
        if pages <= driver.polled_run_pages:
            return driver.ring.compress_polled(self.run, source, offset_bytes, pages)
        self.is_complete = False
        return driver.ring.submit(self._number, self.run, source, offset_bytes, pages)

    def when_complete(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when the device has finished the run, or now if it has."""
        if self.is_complete:
            callback()
        else:
            self._callback = callback

    def complete(self) -> None:
        """Note that the device has finished the run, and call back who asked for it."""
        self.is_complete = True
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def __repr__(self) -> str:
        return f"<ManagedStream {self._number} {'complete' if self.is_complete else 'in flight'}>"


class AcceleratorDriver:
    """Preallocated streams over one ring. A `StreamManager`."""

    def __init__(self, profile: Profile, ring: DescriptorRing, runs: list[CompressedRun]) -> None:
        self._profile = profile
        self.ring = ring
        self.polled_run_pages = profile.polled_run_pages
        self._streams = [ManagedStream(self, number, run) for number, run in enumerate(runs)]
        self._free_streams: list[Stream] = [*self._streams]
        self._serves_completions = True
        self._queue_full = 0

    @property
    def stream_count(self) -> int:
        """As many as descriptors: each run in flight needs at least one."""
        return len(self._streams)

    def get_stream(self) -> Stream | None:
        """Return a free stream; None while every descriptor is taken, or when nobody serves completions."""
        if self.ring.free_descriptors and self._free_streams and self._serves_completions:
            return self._free_streams.pop()
        self._queue_full += 1
        return None

    def put_stream(self, stream: Stream) -> None:
        """Give the stream's descriptors back to the queue."""
        self.ring.retire(stream.run)
        self._free_streams.append(stream)

    async def serve_completions(self) -> None:
        """Wait for the device's interrupt, complete the runs that it names, and again.

        Cancelled, it lets the driver take no more runs, and ends once those in flight are complete: whoever waits
        for them cannot be cancelled.
        """
        try:
            while self.ring.completion_fd >= 0:
                await self._serve_interrupt()
        except trio.ClosedResourceError:
            return
        finally:
            self._serves_completions = False
            with trio.CancelScope(shield=True):
                await self._serve_until_idle()

    async def _serve_until_idle(self) -> None:
        while self.ring.completion_fd >= 0 and not all(stream.is_complete for stream in self._streams):
            await self._serve_interrupt()

    async def _serve_interrupt(self) -> None:
        await trio.lowlevel.wait_readable(self.ring.completion_fd)
        self.poll_completions()

    def poll_completions(self) -> None:
        """Complete the runs that the device has finished by now."""
        for number in self.ring.reap():
            self._streams[number].complete()

    def statistics(self) -> Mapping[str, int]:
        """What the device did, in pages and events."""
        ring = self.ring
        return {
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
