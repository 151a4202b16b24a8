"""The driver of the emulated accelerator: `managed` streams over a descriptor ring, and completions for trio."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Final

import trio

from zramfs.accel.managed import ManagedStreams
from zramfs.accel.profile import Profile
from zramfs.accel.ring import DescriptorRing
from zramfs.codec.run import CompressedRun, PageCodec
from zramfs.errors import AcceleratorUnavailable

_log: Final = logging.getLogger(__name__)

_MAX_RUN_PAGES: Final = 256
"""The longest run of a stream: FUSE's largest write (1 MiB). A run costs 32 bytes a page, in every stream."""


class EmulatedAccelerator:
    """A device like `profile` says; an `Accelerator` for any backend that wants to manage streams."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._engines = profile.engines or max(1, len(os.sched_getaffinity(0)) - 1)

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


class AcceleratorDriver(ManagedStreams):
    """Managed streams over one ring, and whoever waits for its interrupts."""

    def __init__(self, profile: Profile, ring: DescriptorRing, runs: list[CompressedRun]) -> None:
        super().__init__(ring, runs, profile.polled_run_pages)
        self._profile = profile

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
            self.takes_runs = False
            with trio.CancelScope(shield=True):
                await self._serve_until_idle()

    async def _serve_until_idle(self) -> None:
        while self.ring.completion_fd >= 0 and not all(stream.is_complete for stream in self.streams):
            await self._serve_interrupt()

    async def _serve_interrupt(self) -> None:
        await trio.lowlevel.wait_readable(self.ring.completion_fd)
        self.poll_completions()

    def statistics(self) -> Mapping[str, int]:
        """What the device did, in pages and events."""
        ring = self.ring
        return {
            "submitted_pages": ring.submitted_pages,
            "polled_pages": ring.polled_pages,
            "doorbells": ring.doorbells,
            "interrupts": ring.interrupts,
            "queue_full": self.queue_full,
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
