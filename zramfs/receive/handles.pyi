from typing import Final

from zramfs.block.disk import Disk
from zramfs.errors import ZramError

FIRST_OTHER_HANDLE: Final[int]

class TooManyOpenFiles(ZramError): ...  # noqa: N818

class Handles:
    next_other: int
    def open_disk(self, disk: Disk, open_flags: int) -> int: ...
    def open_other(self) -> int: ...
    def close(self, handle: int) -> None: ...
    def disk(self, handle: int) -> tuple[Disk, int] | None: ...
