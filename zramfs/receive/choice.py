"""Which transport a mount uses: what was asked for, if the kernel has it."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from zramfs.errors import MountFailed
from zramfs.receive.transport import DevTransport, Reception, Transport
from zramfs.receive.uring_transport import UringTransport, queue_count

AUTO: Final = "auto"
URING: Final = "uring"

TRANSPORTS: Final[dict[str, Callable[[Reception, int], Transport]]] = {"dev": DevTransport, URING: UringTransport}
"""By name: what makes one, with the descriptor of /dev/fuse."""

_ENABLE_URING: Final = Path("/sys/module/fuse/parameters/enable_uring")


def choose_transport(wanted: str) -> str:
    """Return the transport's name; `auto` takes `uring` where it is to be had. MountFailed: what is wanted is not."""
    if wanted == AUTO:
        return "dev" if _reason_against_uring() else URING
    reason = _reason_against_uring() if wanted == URING else ""
    if reason:
        raise MountFailed(f"no transport uring: {reason}")
    return wanted


def _reason_against_uring() -> str:
    """Say why FUSE over io_uring is not to be had, and what to do; empty if it is."""
    try:
        is_on = _ENABLE_URING.read_text().strip() == "Y"
    except OSError:
        return "this kernel has no FUSE over io_uring (CONFIG_FUSE_IO_URING, since Linux 6.14); use --transport dev"
    if not is_on:
        return f"it is switched off; as root: echo Y > {_ENABLE_URING}"
    return ""


def receiver_count(transport: str) -> int:
    """How many threads receive, each with a channel of its own."""
    return 1 + queue_count() if transport == URING else 1
