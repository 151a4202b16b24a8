"""What figures depend on beside what is measured: the machine, its system, and the versions of programs."""

import platform
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

_ANSWER_S: Final = 10.0


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    return field_of("/proc/cpuinfo", "model name") or platform.machine()


def system_name() -> str:
    """Return the distribution's name; nothing if it does not tell."""
    return field_of("/etc/os-release", "PRETTY_NAME", separator="=").strip('"')


def memory_bytes(name: str) -> int:
    """Return a figure of /proc/meminfo, as MemTotal or MemAvailable."""
    return int(field_of("/proc/meminfo", name).split()[0]) * 1024


def field_of(path: str, name: str, *, separator: str = ":") -> str:
    """Return the first value called `name` in a file of names and values; nothing without one."""
    with suppress(OSError):
        for line in Path(path).read_text(errors="replace").splitlines():
            key, _, value = line.partition(separator)
            if key.strip() == name:
                return value.strip()
    return ""


def version_of_package(name: str) -> str:
    """Return the version of a Python package; nothing if it is not there."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return ""


def version_of_program(*command: str) -> str:
    """Return the first line that a program prints; nothing if it is missing, fails or takes 10 s."""
    try:
        said = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=_ANSWER_S
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return (said.stdout or said.stderr).strip().partition("\n")[0]
