"""The driver of the emulated accelerator: managed streams over its queue, and completions for trio."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Final

import trio

from zramfs.accel.contexts import ContextPool
from zramfs.accel.faults import FAULT_KINDS
from zramfs.accel.injector import FaultInjector
from zramfs.accel.managed import ManagedStreams
from zramfs.accel.modelled import ModelledQueue
from zramfs.accel.profile import Profile
from zramfs.accel.ring import DescriptorRing
from zramfs.accel.settings import SETTINGS
from zramfs.accel.timing import Timing
from zramfs.codec.run import CompressedRun, PageCodec, make_runs
from zramfs.errors import AcceleratorUnavailable, DeviceBusy, InvalidValue

_log: Final = logging.getLogger(__name__)

_MAX_RUN_PAGES: Final = 256
"""The longest run of a stream: FUSE's largest write (1 MiB). A run costs 32 bytes a page, in every stream."""

_NS_PER_US: Final = 1000

_POLL_S: Final = 0.001
"""How often the driver looks for the last completions when it is about to end."""

_STATES: Final = ("offline", "online")

_PERCENTILES: Final = ("model_p50_us", "observed_p50_us", "model_p99_us", "observed_p99_us")

_NOT_COUNTED: Final = {"inflight", "inflight_max", "late_max_us", *_PERCENTILES}
"""Of the statistics, those that do not only grow."""


class EmulatedAccelerator:
    """A device like `profile` says; an `Accelerator` for any backend that wants to manage streams."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._driver: AcceleratorDriver | None = None
        self._is_online = True
        self._is_abandoned = False

    @property
    def workers(self) -> int:
        """Threads that do the work: they stand for the engines, as far as there are CPUs for them."""
        spare_cpus = max(1, len(os.sched_getaffinity(0)) - 1)
        engines = self._profile.number("engines")
        if self._profile.timing.takes_time:
            return min(max(1, engines), spare_cpus)
        return engines or spare_cpus

    def settings(self) -> Mapping[str, str]:
        """Return the profile's name, its values as they are in force here, and whether the device is there."""
        return {key: self.setting(key) for key in ("profile", "state", *self._profile.settings, "workers")}

    def setting(self, key: str) -> str:
        """Return one of them: each has a file, and whoever reads all of these is to pay for each once."""
        match key:
            case "profile":
                return self._profile.name
            case "state":
                return _STATES[self._is_online]
            case "workers":
                return str(self.workers)
        return str(self._profile.settings[key].value)

    def can_set(self, key: str) -> bool:
        """Tell whether a setting may be changed while the device works."""
        return key == "state" or (key in SETTINGS and not SETTINGS[key].is_fixed)

    def set(self, key: str, text: str) -> None:
        """Change a setting, from the next run on; `state` lets the device go away and come back.

        InvalidValue if the text is no value for it, DeviceBusy if it cannot change any more.
        """
        if not self.can_set(key):
            raise DeviceBusy(f"{key} cannot change")
        if key != "state":
            self._profile = self._profile.with_setting(key, text)
        elif text in _STATES:
            self._is_online = text == "online" and not self._is_abandoned
        else:
            raise InvalidValue(f"the state must be {' or '.join(_STATES)}, not {text!r}")
        if self._driver is not None:
            self._driver.apply(self._profile, is_online=self._is_online)

    def abandon(self) -> None:
        """Let the device go away, and stay away."""
        self._is_abandoned = True
        self.set("state", "offline")

    def attach(self, create_context: Callable[[], PageCodec]) -> "AcceleratorDriver":
        """Start the engines, each with a context of its own; AcceleratorUnavailable if the system refuses."""
        profile = self._profile
        depth = profile.queue_depth
        try:
            contexts = [create_context() for _ in range(self.workers)]
            runs = make_runs(depth, min(depth, _MAX_RUN_PAGES))
            own = ContextPool(create_context() for _ in os.sched_getaffinity(0))
            queue = _start_queue(DescriptorRing(depth, own, contexts), runs, profile.timing)
        except (OSError, RuntimeError, MemoryError) as error:
            raise AcceleratorUnavailable(f"accelerator {profile.name}: {error}") from error
        self._driver = AcceleratorDriver(queue, runs)
        self._driver.apply(profile, is_online=self._is_online)
        return self._driver

    def __repr__(self) -> str:
        return f"<EmulatedAccelerator {self._profile.name} {_STATES[self._is_online]}>"


def _start_queue(ring: DescriptorRing, runs: list[CompressedRun], timing: Timing) -> ModelledQueue:
    """Put the model in front of the ring, whose engines run already; they end if the system refuses it."""
    try:
        return ModelledQueue(ring, runs, timing, FaultInjector())
    except BaseException:
        ring.close()
        raise


class AcceleratorDriver(ManagedStreams):
    """Managed streams over one queue, and whoever waits for its interrupts."""

    def __init__(self, queue: ModelledQueue, runs: list[CompressedRun]) -> None:
        super().__init__(queue, runs, 0)
        self._ring = queue.ring
        self._before: Mapping[str, float] = {}
        """What had been counted when `reset_statistics` was called."""

    def apply(self, profile: Profile, *, is_online: bool) -> None:
        """Let the profile's settings be in force, but for those that are fixed."""
        self.set_polled_run_pages(profile.number("polled_run_pages"))
        self.queue.configure(
            timing=profile.timing,
            timeout_ns=profile.number("timeout_us") * _NS_PER_US,
            stall_ns=profile.number("stall_us") * _NS_PER_US,
            rates=profile.fault_rates,
            verifies=bool(profile.number("verify_compress")),
        )
        self.set_online(is_online)
        self.waits_when_full = profile.waits_when_full

    async def serve_completions(self) -> None:
        """Wait for the device's interrupt or its time, complete the runs that are due, and again.

        Cancelled, it lets the driver take no more runs, and ends once those in flight are complete: whoever waits
        for them cannot be cancelled.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve, self._ring.fd)
                nursery.start_soon(self._serve, self.queue.watch.timer.fd)
        finally:
            self.stop_serving()
            with trio.CancelScope(shield=True):
                await self._serve_until_idle()

    async def _serve(self, fd: int) -> None:
        """Complete runs whenever `fd` says so, until it is closed."""
        try:
            while self._ring.fd >= 0:
                await trio.lowlevel.wait_readable(fd)
                self.poll_completions()
        except trio.ClosedResourceError:
            return

    async def _serve_until_idle(self) -> None:
        while self._ring.fd >= 0 and not self.is_idle:
            await trio.sleep(_POLL_S)
            self.poll_completions()

    def statistics(self) -> Mapping[str, float]:
        """What the device did, in pages and events; latencies in µs, of the last 4096 runs with modelled time."""
        return {key: value - self._before.get(key, 0) for key, value in self._counted().items()}

    def reset_statistics(self) -> bool:
        """Count anew. What the device has in flight stays, and so do its own counters, from which others learn."""
        self.queue.reset_peaks()
        self._before = {key: value for key, value in self._counted().items() if key not in _NOT_COUNTED}
        return True

    def _counted(self) -> Mapping[str, float]:
        queue, watch = self.queue, self.queue.watch
        counts = queue.counters()
        model_p50_us, model_p99_us = watch.model.percentiles_us(50, 99)
        observed_p50_us, observed_p99_us = watch.observed.percentiles_us(50, 99)
        return {
            "submitted_pages": counts["submitted_pages"],
            "polled_pages": counts["polled_pages"],
            **self._ring.counters(),
            "queue_full": self.queue_full_count(),
            "inflight": queue.inflight,
            "inflight_max": counts["inflight_max"],
            **dict(zip(_PERCENTILES, (model_p50_us, observed_p50_us, model_p99_us, observed_p99_us), strict=True)),
            "modelled_runs": counts["modelled_runs"],
            "modelled_pages": counts["modelled_pages"],
            "late_completions": counts["late_completions"],
            "late_pages": counts["late_pages"],
            "late_max_us": counts["latest_ns"] // _NS_PER_US,
            "inline_work_us": counts["inline_work_ns"] // _NS_PER_US,
            **{f"injected_{kind}": queue.faults.injected[kind] for kind in FAULT_KINDS},
            **self.error_counts(),
        }

    def close(self) -> None:
        """Stop the engines and end `serve_completions`."""
        if self.queue.inflight:
            _log.error("the accelerator is closed with %d pages in flight", self.queue.inflight)
        trio.lowlevel.notify_closing(self._ring.fd)
        trio.lowlevel.notify_closing(self.queue.watch.timer.fd)
        self.queue.close()

    def __repr__(self) -> str:
        return f"<AcceleratorDriver {self.queue!r} over {self._ring!r}>"
