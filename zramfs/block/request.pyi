from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias

from zramfs.block.disk import Disk
from zramfs.block.inbox import Inbox
from zramfs.units import BytesLike

OPERATIONS: dict[str, int]

class Outcome(IntEnum):
    ENDED = 0
    BEGUN = 1
    FOR_TRIO = 2
    HAS_MORE = 3

_Edge: TypeAlias = tuple[int, int, int, int]

class TrioBio:
    @property
    def disk(self) -> Disk: ...
    @property
    def has_ended(self) -> bool: ...
    @property
    def operation(self) -> str: ...
    @property
    def offset_bytes(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def is_async(self) -> bool: ...
    @property
    def data(self) -> memoryview: ...
    def go_on(self, for_ns: int = 200000) -> int: ...
    def missing_edges(self) -> list[_Edge]: ...
    def patch_edge(self, edge: _Edge, contents: BytesLike, block: int) -> bool: ...
    def finish(self, error_number: int = 0) -> None: ...
    def tell(self) -> None: ...

class HandedOver(TrioBio): ...

class Request(TrioBio):
    on_ended: Callable[[], None] | None
    def __init__(
        self,
        operation: str,
        offset_bytes: int,
        data: BytesLike | None = None,
        *,
        size_bytes: int = 0,
        is_async: bool = False,
        is_urgent: bool = False,
        channel: int = 0,
        on_ended: Callable[[], None] | None = None,
    ) -> None: ...
    def submit(self, disk: Disk) -> int: ...
    def wait(self) -> None: ...
    def result(self) -> int: ...

def take_bios(inbox: Inbox) -> list[TrioBio]: ...
