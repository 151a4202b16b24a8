"""Real data for dd: executables and libraries of this machine, in one file kept in memory where it fits."""

import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, zip_longest
from pathlib import Path
from typing import IO

from cells import MIB
from process import BenchError

WANTED_BYTES = 256 * MIB
LIBRARIES = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "")
SOURCES = (Path("/usr/bin"), LIBRARIES)


@contextmanager
def binaries_file() -> Iterator[tuple[Path, int]]:
    """Yield a file of real binaries and its size, a whole number of MiB; it is removed afterwards."""
    with tempfile.NamedTemporaryFile(prefix="zramfs-bench-", dir=roomy_folder()) as file:
        for path in files_in_turn():
            append(file, path)
            if file.tell() >= WANTED_BYTES:
                break
        size = min(file.tell(), WANTED_BYTES) // MIB * MIB
        if not size:
            raise BenchError(f"no binaries to read in {' or '.join(map(str, SOURCES))}")
        file.truncate(size)
        file.flush()
        yield Path(file.name), size


def roomy_folder() -> Path:
    """Return /dev/shm if the file fits there twice (a container's often has 64 MiB), else a temporary one."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - the file is made by tempfile
    with suppress(OSError):
        if shutil.disk_usage(shared_memory).free > 2 * WANTED_BYTES:
            return shared_memory
    return Path(tempfile.gettempdir())


def files_in_turn() -> Iterator[Path]:
    """Return the regular files of SOURCES by name, one of each folder in turn."""
    folders = (sorted(path for path in source.glob("*") if is_plain(path)) for source in SOURCES)
    return (path for path in chain.from_iterable(zip_longest(*folders)) if path is not None)


def is_plain(path: Path) -> bool:
    """Return whether `path` is a file of its own, and no link to another."""
    return path.is_file() and not path.is_symlink()


def append(file: IO[bytes], path: Path) -> None:
    """Append the file at `path`; one we may not read is left out."""
    with suppress(PermissionError), path.open("rb") as source:
        shutil.copyfileobj(source, file, MIB)
