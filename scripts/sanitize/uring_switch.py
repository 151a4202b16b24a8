"""FUSE over io_uring, which root has to switch on before mounts can be asked for it: on as long as anybody needs it.

Several runs may overlap. Each holds a shared lock on a record of how the first one found the switch; the last one puts
it back. A run that is killed leaves the record, and the next one that ends as the last puts back what that says.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SWITCH = Path("/sys/module/fuse/parameters/enable_uring")
RECORD = Path("/run/zramfs.enable_uring")
ON = "Y"


@contextmanager
def uring_switched_on(switch: Path = SWITCH, record: Path = RECORD) -> Iterator[bool]:
    """Switch it on where that can be, until nobody needs it any more; whether it is on."""
    fd = -1
    with suppress(OSError):
        os.close(os.open(switch, os.O_WRONLY))  # whether it is there, and ours to write
        fd = os.open(record, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if fd < 0:
        yield False
        return
    try:
        _hold(fd, switch)
        switch.write_text(f"{ON}\n")
        yield switch.read_text().strip() == ON
    finally:
        _let_go(fd, switch)
        os.close(fd)


def _hold(fd: int, switch: Path) -> None:
    """Take the shared lock of a record that says how the switch was.

    The locks are the process's (POSIX): children do not inherit them, and the kernel takes them from the killed.
    """
    while True:
        if _is_alone(fd) and not os.pread(fd, 1, 0):
            os.pwrite(fd, switch.read_bytes(), 0)
        fcntl.lockf(fd, fcntl.LOCK_SH)
        if os.pread(fd, 1, 0):
            return
        fcntl.lockf(fd, fcntl.LOCK_UN)  # the last one has just put the switch back


def _let_go(fd: int, switch: Path) -> None:
    """Put the switch back if nobody else holds the record. Of two at once, one finds itself alone."""
    fcntl.lockf(fd, fcntl.LOCK_UN)
    if _is_alone(fd):
        switch.write_bytes(os.pread(fd, 16, 0))
        os.ftruncate(fd, 0)
        fcntl.lockf(fd, fcntl.LOCK_UN)


def _is_alone(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
