"""What the figures depend on beside the settings: the machine, and the versions of what is measured and measures."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

from zramfs import __version__
from zramfs.errors import CommandFailed
from zramfs.units import format_bytes

_PACKAGES: Final = ("pyfuse3", "trio")
_PROGRAMS: Final = {"fio": ["fio", "--version"], "libfuse": ["fusermount3", "--version"]}


def describe_machine() -> dict[str, str]:
    """Return this machine as it is now."""
    return {
        "CPU": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "CPUs": str(len(os.sched_getaffinity(0))),
        "memory": format_bytes(_memory_bytes("MemTotal")),
        "memory available": format_bytes(_memory_bytes("MemAvailable")),
        "load": f"{os.getloadavg()[0]:.2f} in the last minute",
        "system": _field("/etc/os-release", "PRETTY_NAME", separator="=").strip('"'),
        "kernel": platform.release(),
    }


def describe_versions() -> dict[str, str]:
    """Return the versions; what is not there is left out."""
    versions = {"zramfs": __version__, "Python": platform.python_version()}
    versions |= {name: _version_of_package(name) for name in _PACKAGES}
    versions |= {name: _version_of_program(command) for name, command in _PROGRAMS.items()}
    return {name: version for name, version in versions.items() if version}


def require_memory(size_bytes: int) -> None:
    """Raise CommandFailed unless a full disk of incompressible data has room: swapping would be measured otherwise."""
    available = _memory_bytes("MemAvailable")
    if available < size_bytes:
        raise CommandFailed(
            f"a disk of {format_bytes(size_bytes)} may need more than the {format_bytes(available)} of memory "
            "that is available: give a smaller --size"
        )


def _field(path: str, name: str, *, separator: str = ":") -> str:
    """Return the first value called `name` in a file of names and values, or nothing."""
    with suppress(OSError):
        for line in Path(path).read_text().splitlines():
            key, _, value = line.partition(separator)
            if key.strip() == name:
                return value.strip()
    return ""


def _memory_bytes(name: str) -> int:
    return int(_field("/proc/meminfo", name).split()[0]) * 1024


def _version_of_package(name: str) -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return ""


def _version_of_program(command: list[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    words = said.stdout.split()
    return words[-1].removeprefix("fio-") if words else ""
