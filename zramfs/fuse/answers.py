"""What the companion asks beside reads and writes, for which it goes to the open files: errnos, fallocate and lseek.

`filesystem` answers everything else, to pyfuse3.
"""

import errno
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pyfuse3
import trio

from zramfs.errors import ZramError
from zramfs.fuse.nodes import OpenBlockFile, OpenFile
from zramfs.request_memory import RequestMemory

if TYPE_CHECKING:
    from zramfs.fuse.hooks import Reply

_log: Final = logging.getLogger(__name__)


def errno_of(error: Exception, request: str) -> int:
    """Return the answer to a request that failed; what nobody expected is logged, and is EIO to the caller."""
    if isinstance(error, pyfuse3.FUSEError):
        return error.errno
    if isinstance(error, ZramError):
        _log.debug("%s: %s", request, error)
        return error.errno
    _log.error("%s failed; the request is answered with EIO", request, exc_info=error)
    return errno.EIO


class CompanionAnswers:
    """Answers for `open_files`, by handle; what takes its time runs in `nursery`, and holds `request_memory`."""

    def __init__(
        self,
        open_files: dict[int, OpenFile],
        request_memory: RequestMemory,
        nursery: trio.Nursery,
        *,
        session_ended: Callable[[], None],
    ) -> None:
        self.open_files = open_files
        self.request_memory = request_memory
        self._nursery = nursery
        self.session_ended = session_ended
        """What to do when the kernel has given the session up."""

    errno_of = staticmethod(errno_of)

    def fallocate(self, reply: "Reply", file: OpenFile, mode: int, offset: int, length: int) -> None:
        """Punch a hole or zero a range of a block file, and leave its size as it is."""
        if not isinstance(file, OpenBlockFile) or not file.can_punch(mode, offset, length):
            reply.error(errno.EOPNOTSUPP)
        else:
            self._nursery.start_soon(self._punch, reply, file, offset, length)

    @staticmethod
    async def _punch(reply: "Reply", file: OpenBlockFile, offset: int, length: int) -> None:
        try:
            await file.punch(offset, length)
        except Exception as error:  # noqa: BLE001 - each is answered
            reply.error(errno_of(error, "fallocate"))
        except BaseException:
            reply.error(errno.EIO)  # now: the session may be gone when this frame is
            raise
        else:
            reply.error(0)

    def lseek(self, reply: "Reply", file: OpenFile, offset: int, whence: int) -> None:
        """Find the next data or hole: SEEK_DATA or SEEK_HOLE."""
        found = file.seek(offset, whence)
        if found is None:
            reply.error(errno.ENXIO)
        else:
            reply.offset(found)
