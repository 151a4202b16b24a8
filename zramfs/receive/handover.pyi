from collections.abc import Callable

from zramfs.receive.handles import Handles

class Handover:
    fd: int
    handles: Handles
    dev_fd: int
    background: int
    direct_writes_are_parallel: bool
    init_flags: int
    session_ended: Callable[[], None] | None
    def __init__(
        self,
        handles: Handles,
        *,
        background: int,
        direct_writes_are_parallel: bool,
        session_ended: Callable[[], None],
    ) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def has_ended(self) -> bool: ...
