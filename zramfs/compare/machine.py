"""What the figures depend on beside the settings: the machine, and the versions of what is measured and measures."""

import os
import platform
from typing import Final

from zramfs import __version__
from zramfs.errors import CommandFailed
from zramfs.measure.machine import (
    memory_bytes,
    processor_name,
    system_name,
    version_of_package,
    version_of_program,
)
from zramfs.units import format_bytes

_PACKAGES: Final = ("pyfuse3", "trio")
_PROGRAMS: Final = {"fio": ["fio", "--version"], "libfuse": ["fusermount3", "--version"]}


def describe_machine() -> dict[str, str]:
    """Return this machine as it is now."""
    return {
        "CPU": processor_name(),
        "CPUs": str(len(os.sched_getaffinity(0))),
        "memory": format_bytes(memory_bytes("MemTotal")),
        "memory available": format_bytes(memory_bytes("MemAvailable")),
        "load": f"{os.getloadavg()[0]:.2f} in the last minute",
        "system": system_name(),
        "kernel": platform.release(),
    }


def describe_versions() -> dict[str, str]:
    """Return the versions; what is not there is left out."""
    versions = {"zramfs": __version__, "Python": platform.python_version()}
    versions |= {name: version_of_package(name) for name in _PACKAGES}
    versions |= {name: _number_in(version_of_program(*command)) for name, command in _PROGRAMS.items()}
    return {name: version for name, version in versions.items() if version}


def require_memory(size_bytes: int) -> None:
    """Raise CommandFailed unless a full disk of incompressible data has room: swapping would be measured otherwise."""
    available = memory_bytes("MemAvailable")
    if available < size_bytes:
        raise CommandFailed(
            f"a disk of {format_bytes(size_bytes)} may need more than the {format_bytes(available)} of memory "
            "that is available: give a smaller --size"
        )


def _number_in(said: str) -> str:
    """Return the version that a line ends with, as `fio-3.33` does."""
    return said.rpartition(" ")[2].removeprefix("fio-")
