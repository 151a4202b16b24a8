"""A zlib backend that manages streams of its own: a thread compresses, and trio learns when a run is done.

Plain Python, without zramfs's accelerator: the stream contract is all that it knows. docs/backend_packages.md tells.
"""

import threading
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import Final

import trio

from zramfs.backend_api import (
    Accelerator,
    AlgorithmParams,
    Backend,
    BackendParams,
    BytesLike,
    FunctionCodec,
    InvalidValue,
    RunCompressor,
    Stream,
    StreamManager,
)

_DEFAULT_LEVEL: Final = 6
_STREAMS: Final = 16
_RUN_PAGES: Final = 32
_POLL_S: Final = 0.001

Work = Callable[[], None]


class ZlibStream(Stream):
    """Hands its run to the manager's thread."""

    def __init__(self, manager: "ZlibStreams", codec: FunctionCodec) -> None:
        self._manager = manager
        self._compressor = RunCompressor(codec, _RUN_PAGES)
        self._callback: Callable[[], None] | None = None
        self.pages = 0
        super().__init__(self._compressor.run)

    def submit(self, source: BytesLike, offset_bytes: int, pages: int) -> int:
        """Take up to 32 pages; the thread reads them from `source` itself, which stays as it is until then."""
        self.pages = min(pages, _RUN_PAGES)
        self.is_complete = False
        self._manager.start(self, partial(self._compressor.compress, source, offset_bytes, self.pages))
        return self.pages

    def when_complete(self, callback: Callable[[], None]) -> None:
        """Call back now, or from `complete`."""
        if self.is_complete:
            callback()
        else:
            self._callback = callback

    def complete(self) -> None:
        """Note, on the event loop, that the thread is done with the run."""
        self.is_complete = True
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class ZlibStreams(StreamManager):
    """Preallocated streams, and the thread that compresses for them."""

    def __init__(self, create_context: Callable[[], FunctionCodec]) -> None:
        self._streams = [ZlibStream(self, create_context()) for _ in range(_STREAMS)]
        self._free = list(self._streams)
        self.stream_count = _STREAMS
        self._work: SimpleQueue[tuple[ZlibStream, Work] | None] = SimpleQueue()
        self._done: deque[ZlibStream] = deque()
        self._token: trio.lowlevel.TrioToken | None = None
        self._takes_runs = False
        self._closed = trio.Event()
        self._inflight = self._inflight_max = 0
        self._thread = threading.Thread(target=self._work_off, name="zlib", daemon=True)
        self._thread.start()

    def get_stream(self) -> ZlibStream | None:
        """Return a free stream, if anybody would learn of its completion."""
        return self._free.pop() if self._free and self._takes_runs else None

    def put_stream(self, stream: Stream) -> None:
        """Take back a stream whose pages are committed."""
        assert isinstance(stream, ZlibStream)
        self._inflight -= stream.pages
        stream.run.release()
        self._free.append(stream)

    def start(self, stream: ZlibStream, work: Work) -> None:
        """Queue a run for the thread."""
        self._inflight += stream.pages
        self._inflight_max = max(self._inflight_max, self._inflight)
        self._work.put((stream, work))

    def _work_off(self) -> None:
        """The thread: it changes nothing but the run that it was given, and rings at the event loop."""
        while (item := self._work.get()) is not None:
            stream, work = item
            work()
            self._done.append(stream)
            assert self._token is not None
            self._token.run_sync_soon(self.poll_completions, idempotent=True)

    def poll_completions(self) -> None:
        """Complete what the thread has finished."""
        while self._done:
            self._done.popleft().complete()

    async def serve_completions(self) -> None:
        """Take runs until closed or cancelled, and end once those in flight are complete."""
        self._token = trio.lowlevel.current_trio_token()
        self._takes_runs = True
        try:
            await self._closed.wait()
        finally:
            self._takes_runs = False
            with trio.CancelScope(shield=True):
                while not all(stream.is_complete for stream in self._streams):
                    await trio.sleep(_POLL_S)
                    self.poll_completions()

    def statistics(self) -> Mapping[str, float]:
        """Pages that a stream holds now, and the most so far."""
        return {"inflight": self._inflight, "inflight_max": self._inflight_max}

    def close(self) -> None:
        """End the thread and `serve_completions`; no stream is in use."""
        self._closed.set()
        self._work.put(None)
        self._thread.join()


class ZlibBackend(Backend):
    """zlib streams; `level` is zlib's, 1 to 9."""

    name = "zlib"

    def resolve_params(self, requested: AlgorithmParams) -> AlgorithmParams:
        """Put the default level in; there is nothing else to set."""
        level = _DEFAULT_LEVEL if requested.level is None else requested.level
        if requested != AlgorithmParams(level=requested.level) or not 1 <= level <= 9:
            raise InvalidValue(f"zlib takes a level of 1 to 9, and no other parameters, not {requested}")
        return AlgorithmParams(level=level)

    def setup_params(self, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        """Fix the level, and manage streams unless the user wants none (``--accel none``)."""
        params = BackendParams(algorithm=self.resolve_params(requested))
        if accelerator is None:
            return params
        return replace(params, manager=ZlibStreams(lambda: self.create_context(params)))

    def release_params(self, params: BackendParams) -> None:
        """Stop the streams."""
        if params.manager is not None:
            params.manager.close()

    def create_context(self, params: BackendParams) -> FunctionCodec:
        """Make a codec of two functions; zlib keeps no scratch of ours."""
        return FunctionCodec(partial(zlib.compress, level=params.level), zlib.decompress)


ZLIB: Final = ZlibBackend()
