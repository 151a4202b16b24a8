"""Chooses the stream for each run, and counts what it chose. Below are the backends, above is the device."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from zramfs.codec.run import CompressedRun, PageCodec, RunCompressor, current_cpu
from zramfs.contracts import Accelerator, Backend, Stream, StreamPolicy

PERCPU_RUN_PAGES: Final = 32
"""The longest run of a per-CPU stream: 65 to 320 µs of LZ4, after which others have their turn on the event loop."""


FALLBACK_RUN_PAGES: Final = 8
"""What a per-CPU stream takes at a time of a run that wanted a managed stream: the accelerator may be free again."""


class PercpuStream:
    """Compresses at once, on the caller's CPU. Its run is committed before others have a turn: nobody waits for it."""

    __slots__ = ("_compressor", "codec", "run")

    is_complete: Final = True

    def __init__(self, codec: PageCodec) -> None:
        self.codec = codec
        self._compressor = RunCompressor(codec, PERCPU_RUN_PAGES)
        self.run: CompressedRun = self._compressor.run

    def submit(self, source: bytes, offset_bytes: int, pages: int) -> int:
        """Compress the first 32 pages at the most; how many it was."""
        taken = min(pages, PERCPU_RUN_PAGES)
        self._compressor.compress(source, offset_bytes, taken)
        return taken

    def when_complete(self, callback: Callable[[], None]) -> None:
        """Call back at once: it is."""
        callback()

    def __repr__(self) -> str:
        return f"<PercpuStream {self.codec!r}>"


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """`stream_stat`: pages written by the kind of stream that took them, and the streams there are."""

    percpu_pages: int
    managed_pages: int
    fallback_pages: int
    managed_streams: int
    percpu_streams: int
    inflight: int
    inflight_max: int


class Zcomp:
    """The streams of one device: the per-CPU ones, always, and those that the backend manages, if it can."""

    def __init__(
        self,
        backend: Backend,
        *,
        level: int | None = None,
        accelerator: Accelerator | None = None,
        policy: StreamPolicy = StreamPolicy.AUTO,
    ) -> None:
        self.backend = backend
        self.params = backend.setup_params(level=level, accelerator=accelerator)
        try:
            cpus = len(os.sched_getaffinity(0))
            self._percpu = [PercpuStream(backend.create_context(self.params)) for _ in range(cpus)]
        except BaseException:
            self.close()
            raise
        self._percpu_pages = self._managed_pages = self._fallback_pages = 0
        self.policy = policy

    @property
    def policy(self) -> StreamPolicy:
        """Which writes prefer a managed stream; may be changed at any time."""
        return self._policy

    @policy.setter
    def policy(self, policy: StreamPolicy) -> None:
        able = self.params.zstrm_mgmt
        self._policy = policy
        self._prefers_managed_async = able and policy is not StreamPolicy.PERCPU
        self._prefers_managed_sync = able and policy is StreamPolicy.MANAGED
        polled = self.params.manager.polled_run_pages if self.params.manager else 0
        self._nowait_pages_async = polled if self._prefers_managed_async else PERCPU_RUN_PAGES
        self._nowait_pages_sync = polled if self._prefers_managed_sync else PERCPU_RUN_PAGES

    @property
    def codec(self) -> PageCodec:
        """The context that decompresses: software, on the caller's CPU."""
        return self._percpu[0].codec

    def is_nowait(self, pages: int, is_async: bool) -> bool:  # noqa: FBT001 - a keyword costs time
        """Whether a run of so many pages is complete once it is submitted, whatever is free."""
        return pages <= (self._nowait_pages_async if is_async else self._nowait_pages_sync)

    def submit(self, source: bytes, offset_bytes: int, pages: int, *, is_async: bool) -> tuple[Stream, int]:
        """Choose the stream for a run, and hand it as many of the run's pages as it takes now.

        A write that prefers managed streams gets one while the backend has one free. What managed streams cannot
        take, now, goes to the per-CPU streams, as does every other write. The caller commits `stream.run` when the
        stream is complete, puts the stream, and calls again for the pages that are left.
        """
        prefers_managed = self._prefers_managed_async if is_async else self._prefers_managed_sync
        if prefers_managed:
            managed = self.backend.get_stream(self.params)
            if managed is not None:
                taken = managed.submit(source, offset_bytes, pages)
                self._managed_pages += taken
                return managed, taken
            pages = min(pages, FALLBACK_RUN_PAGES)
            self._fallback_pages += pages
        else:
            pages = min(pages, PERCPU_RUN_PAGES)
            self._percpu_pages += pages
        percpu = self._percpu[current_cpu() % len(self._percpu)]
        percpu.submit(source, offset_bytes, pages)
        return percpu, pages

    def submit_patched_page(self, page: bytes) -> Stream:
        """Compress one page on the per-CPU path, whatever the policy: its caller must not wait."""
        percpu = self._percpu[current_cpu() % len(self._percpu)]
        percpu.submit(page, 0, 1)
        self._percpu_pages += 1
        return percpu

    def put_stream(self, stream: Stream) -> None:
        """Take back a stream that `submit` gave, complete and committed."""
        if isinstance(stream, PercpuStream):
            stream.run.release()
        else:
            self.backend.put_stream(self.params, stream)

    def poll_completions(self) -> None:
        """Complete the managed streams whose runs are done, so that their descriptors are free again."""
        if self.params.manager is not None:
            self.params.manager.poll_completions()

    async def serve_completions(self) -> None:
        """Complete managed streams whenever their device signals, until `close`."""
        if self.params.manager is not None:
            await self.params.manager.serve_completions()

    def statistics(self) -> StreamStatistics:
        """What was chosen so far, and what there is to choose from."""
        manager = self.params.manager
        device = self.accelerator_statistics()
        return StreamStatistics(
            percpu_pages=self._percpu_pages,
            managed_pages=self._managed_pages,
            fallback_pages=self._fallback_pages,
            managed_streams=manager.stream_count if manager else 0,
            percpu_streams=len(self._percpu),
            inflight=device.get("inflight", 0),
            inflight_max=device.get("inflight_max", 0),
        )

    def accelerator_statistics(self) -> Mapping[str, int]:
        """What the device behind the managed streams says of itself; empty without one."""
        return self.params.manager.statistics() if self.params.manager else {}

    def close(self) -> None:
        """Release the backend's parameters, with the accelerator behind them."""
        self.backend.release_params(self.params)

    def __repr__(self) -> str:
        return f"<Zcomp {self.backend.name} policy={self._policy.value} {self.statistics()}>"
