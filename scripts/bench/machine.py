"""Where the figures come from: the machine, the versions of all that is measured, and what is missing."""

import ctypes
import ctypes.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from process import BenchError, root_of_project

from zramfs.measure.machine import (
    memory_bytes,
    processor_name,
    system_name,
    version_of_package,
    version_of_program,
)

PYTHON_PACKAGES = ("zramfs", "pyfuse3", "trio")
PROGRAMS = {
    "fio": ["fio", "--version"],
    "dd": ["dd", "--version"],
    "nbdkit": ["nbdkit", "--version"],
    "nbdfuse": ["nbdfuse", "-V"],
    "fusermount3": ["fusermount3", "--version"],
}
LIBRARIES = {"lz4": "LZ4_versionString", "zstd": "ZSTD_versionString"}


@dataclass(frozen=True)
class Machine:
    """What the figures depend on."""

    cpu: str
    cpus: int
    memory_bytes: int
    memory_available_bytes: int
    kernel: str
    system: str
    load_at_start: float


def describe_machine() -> Machine:
    """Return this machine as it is now."""
    return Machine(
        cpu=processor_name(),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=memory_bytes("MemTotal"),
        memory_available_bytes=memory_bytes("MemAvailable"),
        kernel=platform.release(),
        system=system_name(),
        load_at_start=os.getloadavg()[0],
    )


def describe_versions() -> dict[str, str]:
    """Return the version of everything that is measured or measures; what is not there is left out."""
    versions = {"python": platform.python_version(), "commit": commit(root_of_project())}
    versions |= {name: version_of_package(name) for name in PYTHON_PACKAGES}
    versions |= {name: version_of_program(*command) for name, command in PROGRAMS.items()}
    versions |= {f"lib{name}": version_of_library(name, function) for name, function in LIBRARIES.items()}
    return {name: version for name, version in versions.items() if version}


def debian(package: str) -> str:
    """Return what to do where a program of a Debian package is missing."""
    return f"Debian package {package}"


def check_programs(remedies: dict[str, str]) -> None:
    """Raise BenchError, saying for each missing program what to do, unless all are there."""
    missing = [f"{name} ({remedy})" for name, remedy in remedies.items() if shutil.which(name) is None]
    if missing:
        raise BenchError(f"missing: {', '.join(missing)}")


def check_memory(needed_bytes: int) -> None:
    """Raise BenchError unless so much memory is available: swapping would be measured otherwise."""
    available = memory_bytes("MemAvailable")
    if available < needed_bytes:
        raise BenchError(
            f"needs {needed_bytes / 2**30:.1f} GiB of free memory; {available / 2**30:.1f} GiB is available"
        )


def commit(folder: Path) -> str:
    """Return the commit that is checked out, marked -dirty if files differ; nothing outside a repository."""
    return version_of_program("git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12")


def version_of_library(name: str, function: str) -> str:
    """Return what a compression library of the system calls its version."""
    try:
        describe = getattr(ctypes.CDLL(ctypes.util.find_library(name)), function)
    except (OSError, AttributeError):
        return ""
    describe.restype = ctypes.c_char_p
    return bytes(describe()).decode()
