"""FUSE over io_uring, which root has to switch on before mounts can be asked for it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SWITCH = Path("/sys/module/fuse/parameters/enable_uring")
ON = "Y"


@contextmanager
def uring_switched_on(switch: Path = SWITCH) -> Iterator[bool]:
    """Switch it on where that can be, and put it back at the end; whether it is on."""
    before = ""
    with suppress(OSError):
        before = switch.read_text().strip()
        switch.write_text(f"{ON}\n")
    try:
        yield bool(before) and switch.read_text().strip() == ON
    finally:
        if before not in ("", ON):
            switch.write_text(f"{before}\n")
