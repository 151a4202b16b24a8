"""Loads the companion of pyfuse3 (`interposed`), where the dynamic linker finds it before libfuse.

Without the companion a mount works, and does less: pyfuse3 receives every request on the event loop, there is no
discard and there are no holes, only the flags given to open() are known, and at most 12 background requests come at
once.
"""

import os
import re
import sys
from types import ModuleType
from typing import Final

import zramfs.receive.handover  # noqa: F401 - before the flags are set: only `interposed` is to be seen by everybody

_SWITCH_OFF: Final = "ZRAMFS_NO_COMPANION"

_PARALLEL_WRITES_SINCE: Final = (6, 9)
"""The kernel that knows which I/O an inode is in (fs/fuse/iomode.c). Before it, a direct write beside a cached reader
left the reader with what it had."""


def _load_interposed() -> tuple[ModuleType | None, str]:
    """Return the module, or None and the reason."""
    if os.environ.get(_SWITCH_OFF, "0") not in ("", "0"):
        return None, f"{_SWITCH_OFF} is set"
    flags_before = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
    try:
        from zramfs.fuse import interposed as loaded  # noqa: PLC0415 - only here, with these flags
    except ImportError as error:
        return None, str(error)
    finally:
        sys.setdlopenflags(flags_before)
    reason = loaded.unsupported_reason()
    return (None, reason) if reason else (loaded, "")


def direct_writes_are_parallel(kernel_release: str) -> bool:
    """Whether this kernel keeps cached and direct users of a file in step when direct writes are not serialised."""
    version = re.match(r"(\d+)\.(\d+)", kernel_release)
    return version is not None and (int(version[1]), int(version[2])) >= _PARALLEL_WRITES_SINCE


interposed, missing_reason = _load_interposed()
"""The companion, or None and why there is none."""
