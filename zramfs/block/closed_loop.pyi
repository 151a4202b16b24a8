from zramfs.block.disk import Disk

class Loop:
    done: int
    errors: int
    torn_pages: int
    took_ns: int
    def __init__(
        self,
        disk: Disk,
        channel: int,
        operation: str,
        *,
        first_page: int = 0,
        pages: int,
        size_pages: int = 1,
        is_async: bool = False,
        verifies: bool = False,
        seed: int = 1,
    ) -> None: ...
    def run(self, count: int) -> None: ...
