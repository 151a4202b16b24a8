from collections.abc import Callable

from zramfs.bio import WriteBio
from zramfs.device.page_store import PageStore
from zramfs.device.trace import TracedRequest
from zramfs.units import BytesLike

class PageWrite:
    page: int
    end: int
    def __init__(
        self,
        store: PageStore,
        data: BytesLike,
        *,
        offset_bytes: int,
        page: int,
        pages: int,
        is_async: bool,
        on_done: Callable[[Exception | None], None],
        request: TracedRequest | None = None,
    ) -> None: ...
    def submit_run(self) -> bool: ...
    @property
    def has_more(self) -> bool: ...
    def submit_all(self) -> None: ...
    def close(self) -> None: ...

def can_write_later(offset_bytes: int, size_bytes: int) -> bool: ...
def write_later(store: PageStore, bio: WriteBio, on_done: Callable[[Exception | None], None]) -> None: ...
