"""What the parts promise each other: backends, accelerators, attributes. One page, no behaviour.

The stream contract is in `streams`.

Ownership, as in the kernel's zcomp: parameters are set up once, fixed and shared; a context (`PageCodec`) is
scratch memory, belongs to one stream and is never shared; a stream belongs to whoever got it, until it is put.

Backends of other packages are not trusted: `backends/checked` looks at what they return, and docs/backend_packages.md
says what becomes of a promise that is broken.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from zramfs.codec.run import PageCodec
from zramfs.errors import InvalidValue
from zramfs.streams import StreamManager


class StreamPolicy(Enum):
    """Which kind of stream a device's writes use (`stream_policy`)."""

    AUTO = "auto"
    MANAGED = "managed"
    PERCPU = "percpu"


class Accelerator(Protocol):
    """A device that can compress for a backend."""

    def settings(self) -> Mapping[str, str]:
        """What it is and how it is set, by name; `profile` among them."""

    def setting(self, key: str) -> str:
        """One of them."""

    def can_set(self, key: str) -> bool:
        """Whether a setting may be changed at any time."""

    def set(self, key: str, text: str) -> None:
        """Change a setting, from the next run on; InvalidValue if the text is no value for it."""

    def abandon(self) -> None:
        """Let go of the device for good: nobody waits for it any more, and software does what it has in hand."""

    def attach(self, create_context: Callable[[], PageCodec]) -> StreamManager:
        """Set the device up to run a backend's codec; AcceleratorUnavailable if that cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmParams:
    """What an algorithm is asked for (`algorithm_params`); None, or no dictionary, leaves it the algorithm's default.

    `winbits` is deflate's, as zlib's deflateInit2() takes it.
    """

    level: int | None = None
    dictionary: bytes = field(default=b"", repr=False)
    dictionary_path: str = ""
    winbits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendParams:
    """What a backend's `setup_params` made: fixed while the device lives, shared by all its streams.

    `algorithm` has the defaults in the place of what was not asked for; `digest` is what the backend made of the
    dictionary, for its contexts to share.
    """

    algorithm: AlgorithmParams
    digest: object = None
    manager: StreamManager | None = None
    manager_error: str = ""

    @property
    def level(self) -> int:
        """The level in use; 0 for an algorithm without."""
        return self.algorithm.level or 0

    @property
    def zstrm_mgmt(self) -> bool:
        """Whether the backend manages streams: known only at run time, as in the RFC."""
        return self.manager is not None


class Backend(ABC):
    """A compression algorithm: the RFC's table of operations. Its `get_stream` and `put_stream` are the manager's."""

    name: str

    def setup_params(self, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        """Fix the parameters; InvalidValue for one that the algorithm does not have, or a value that it cannot take.

        A backend that manages no streams leaves the accelerator alone; without one it manages none. Nothing else is
        raised but MemoryError.
        """
        del accelerator
        return BackendParams(algorithm=self.resolve_params(requested))

    def resolve_params(self, requested: AlgorithmParams) -> AlgorithmParams:
        """Put the defaults in; what is written here is for an algorithm without parameters."""
        if requested != AlgorithmParams():
            raise InvalidValue(f"{self.name} has no parameters")
        return requested

    def release_params(self, params: BackendParams) -> None:  # noqa: B027 - most have nothing to release
        """Undo `setup_params`, when no stream is in use any more. It returns at once."""

    @abstractmethod
    def create_context(self, params: BackendParams) -> PageCodec:
        """Make the scratch of one stream: an object that compresses and decompresses a page; another one each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """A control file. Without a `show` it cannot be read, without `store` it cannot be written; ZramError is its errno.

    `show_portions` stands for `show` where the text may be longer than a page: portions of it, each made within a
    fraction of a millisecond as it is read, and `text_bytes` of ASCII in all. `show_async` stands for `show` where
    showing something also does it, and may take its time. `store` is awaited with the text of one write(2), and may
    take its time without stopping other requests. `changes_files` says that storing may take files away or change
    their sizes: the kernel is then told before the write returns. `store_at` stands for `store` where the text may have
    a relative path: it is given the writer's folder as well, which is empty if nobody knows it.
    """

    mode: int
    show: Callable[[], str] | None = None
    show_portions: Callable[[], Iterator[str]] | None = None
    text_bytes: Callable[[], int] | None = None
    store: Callable[[str], Awaitable[None]] | None = None
    store_at: Callable[[str, str], Awaitable[None]] | None = None
    show_async: Callable[[], Awaitable[str]] | None = None
    changes_files: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link among the control files."""

    target: str


ControlTree = Mapping[str, "Attribute | Link | ControlTree"]
"""A folder of control files: names to attributes, links and further folders."""
