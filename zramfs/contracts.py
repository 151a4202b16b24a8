"""What the parts promise each other: streams, backends, accelerators, attributes. One page, no behaviour.

Ownership, as in the kernel's zcomp: parameters are set up once, fixed and shared; a context (`PageCodec`) is
scratch memory, belongs to one stream and is never shared; a stream belongs to whoever got it, until it is put.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from zramfs.codec.run import CompressedRun, PageCodec


class StreamPolicy(Enum):
    """Which kind of stream a device's writes use (`stream_policy`)."""

    AUTO = "auto"
    MANAGED = "managed"
    PERCPU = "percpu"


class Stream(Protocol):
    """Compresses one run of pages at a time; per-CPU and managed streams alike."""

    @property
    def run(self) -> CompressedRun:
        """The compressed pages, valid from completion until the stream is put."""

    @property
    def is_complete(self) -> bool:
        """Whether every page that was taken is compressed. True right after `submit` on a per-CPU stream."""

    def submit(self, source: bytes, offset_bytes: int, pages: int) -> int:
        """Begin with `pages` whole pages of `source`; how many are taken, 1 or more. Never waits."""

    def when_complete(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once the run is complete: now, or from `poll_completions`. It never raises."""


class StreamManager(Protocol):
    """The managed streams of one device, made by an `Accelerator` for a backend."""

    @property
    def stream_count(self) -> int:
        """How many streams there are."""

    @property
    def polled_run_pages(self) -> int:
        """The longest run that is complete at submission; 0 if none is."""

    def get_stream(self) -> Stream | None:
        """Return a stream that takes at least one page now, or None. Never waits, never allocates."""

    def put_stream(self, stream: Stream) -> None:
        """Take back a complete stream; its run is no longer valid."""

    def statistics(self) -> Mapping[str, int]:
        """Counters, `inflight` and `inflight_max` (pages) among them."""

    def poll_completions(self) -> None:
        """Complete the streams whose runs are done, calling back those who asked for it, and return at once."""

    async def serve_completions(self) -> None:
        """Poll whenever the device signals, until `close`."""

    def close(self) -> None:
        """Stop the device behind the streams; none is in use."""


class Accelerator(Protocol):
    """A device that can compress for a backend."""

    def settings(self) -> Mapping[str, int | str]:
        """What it is and how it is set, by name; `profile` among them."""

    def attach(self, create_context: Callable[[], PageCodec]) -> StreamManager:
        """Set the device up to run a backend's codec; AcceleratorUnavailable if that cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendParams:
    """What a backend's `setup_params` made: fixed while the device lives, shared by all its streams."""

    level: int
    manager: StreamManager | None = None
    manager_error: str = ""

    @property
    def zstrm_mgmt(self) -> bool:
        """Whether the backend manages streams: known only at run time, as in the RFC."""
        return self.manager is not None


class Backend(ABC):
    """A compression algorithm: the RFC's table of operations."""

    name: str
    default_level: int = 0

    def setup_params(self, *, level: int | None, accelerator: Accelerator | None) -> BackendParams:
        """Fix the parameters. A backend that manages no streams leaves the accelerator alone."""
        del accelerator
        return BackendParams(level=self.default_level if level is None else level)

    def release_params(self, params: BackendParams) -> None:  # noqa: B027 - most have nothing to release
        """Undo `setup_params`, when no stream is in use any more."""

    @abstractmethod
    def create_context(self, params: BackendParams) -> PageCodec:
        """Make the scratch of one stream: an object that compresses and decompresses a page."""

    def get_stream(self, params: BackendParams) -> Stream | None:
        """Return a managed stream if one is free now. Called only with `params.zstrm_mgmt`."""
        return None if params.manager is None else params.manager.get_stream()

    def put_stream(self, params: BackendParams, stream: Stream) -> None:
        """Take back a stream that `get_stream` gave."""
        if params.manager is not None:
            params.manager.put_stream(stream)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """A control file. Without `show` it cannot be read, without `store` it cannot be written; ZramError is its errno.

    `store` is awaited with the text of one write(2), and may take its time without stopping other requests.
    """

    mode: int
    show: Callable[[], str] | None = None
    store: Callable[[str], Awaitable[None]] | None = None


ControlTree = Mapping[str, "Attribute | ControlTree"]
"""A folder of control files: names to attributes and further folders."""
