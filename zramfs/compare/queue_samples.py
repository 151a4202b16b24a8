"""The accelerator's queue over time, as the device counts it: pages, a descriptor each, looked at every few ms."""

import os
import time
from dataclasses import dataclass, field
from mmap import mmap
from threading import Event, Thread
from typing import Final, Self

from zramfs.compare.fresh_mount import FreshMount
from zramfs.units import PAGE_SIZE

MARK_BYTES: Final = 3 * PAGE_SIZE
"""The size of the read that marks the moment 0 in the mount's trace: no workload begins with such a one."""

_EVERY_S: Final = 0.01
_ENOUGH_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class QueueSamples:
    """Pages in the queue at moments, in seconds since the mark."""

    at_s: list[float] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)


class QueueSampler:
    """While entered, a thread looks at the queue of a mount, which begins with a read that its trace shows."""

    def __init__(self, mount: FreshMount) -> None:
        self._mount = mount
        self._ends = Event()
        self._thread = Thread(target=self._look, daemon=True)
        self.samples = QueueSamples()
        self._began_s = 0.0

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        _read_mark(self._mount)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ends.set()
        self._thread.join(_ENOUGH_S)

    def _look(self) -> None:
        while not self._ends.wait(_EVERY_S):
            inflight = self._mount.accelerator_counters().get("inflight", 0)
            self.samples.at_s.append(time.monotonic() - self._began_s)
            self.samples.pages.append(int(inflight))


def _read_mark(mount: FreshMount) -> None:
    descriptor = os.open(mount.block_file, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap(-1, MARK_BYTES) as aligned:
            os.preadv(descriptor, [aligned], 0)
    finally:
        os.close(descriptor)
