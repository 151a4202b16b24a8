"""What tests of streams share: a disk without slots and a pool, whose writes end sooner or later."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.backends.lz4 import LZ4
from zramfs.contracts import Backend, StreamPolicy
from zramfs.streams import Stream
from zramfs.zcomp.trial import Trial, TrialWrite
from zramfs.zcomp.zcomp import Zcomp


async def completed(stream: Stream) -> None:
    """Return when the stream's run is complete."""
    done = trio.Event()
    stream.when_complete(done.set)
    await done.wait()


@asynccontextmanager
async def opened_trial(
    accelerator: str = "poc", policy: StreamPolicy = StreamPolicy.AUTO, backend: Backend = LZ4, pages: int = 1024
) -> AsyncIterator[Trial]:
    """Open a disk whose completions are served."""
    profile = parse_accelerator(accelerator)
    zcomp = Zcomp(backend, accelerator=EmulatedAccelerator(profile) if profile else None, policy=policy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(zcomp.serve_completions)
        await trio.testing.wait_all_tasks_blocked()  # a manager may give streams only when it is served
        try:
            yield Trial(zcomp, pages)
        finally:
            zcomp.close()


async def written(write: TrialWrite) -> TrialWrite:
    """Return when each page is committed."""
    while not write.is_done:  # noqa: ASYNC110 - nobody tells, on whatever thread it ends
        await trio.sleep(0.0002)
    return write
