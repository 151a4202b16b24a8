"""A mount under test, as its user sees it."""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from prepared import PreparedVerbs

ZRAMFS = str(Path(sys.executable).with_name("zramfs"))

MIB = 1 << 20


class Mounted:
    """A zramfs mounted for one test."""

    def __init__(self, path: Path, log: Path) -> None:
        self.path = path
        self.log = log
        self.file = path / "zram0"
        self.pid = int((path / "sys/fs/zramfs/pid").read_text())
        self.daemon_fd = os.pidfd_open(self.pid)  # tells it from a later process of its number
        weakref.finalize(self, os.close, self.daemon_fd)

    def attribute(self, name: str, device: str = "zram0") -> Path:
        return self.path / "sys/block" / device / name

    def show(self, name: str, device: str = "zram0") -> str:
        return self.attribute(name, device).read_text()

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(prepared("status", "--json", self.path).stdout)
        return status

    def device(self, number: int = 0) -> dict[str, Any]:
        device: dict[str, Any] = self.status()["devices"][number]
        return device

    def streams(self) -> dict[str, int]:
        streams: dict[str, int] = self.device()["streams"]
        return streams

    def is_running(self) -> bool:
        return not select.select([self.daemon_fd], [], [], 0)[0]

    def wait_until_unmounted(self, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while is_mounted(self.path):
            assert time.monotonic() < deadline, f"{self.path} stays mounted"
            time.sleep(0.02)

    def wait_until_resident(self, most_bytes: int, timeout_s: float = 20.0) -> None:
        """Receivers keep buffers for requests, up to 32 MiB each, until there was no request for a second."""
        deadline = time.monotonic() + timeout_s
        while (resident := resident_bytes(self.pid)) > most_bytes:
            assert time.monotonic() < deadline, f"{resident} bytes are resident instead of {most_bytes} at the most"
            time.sleep(0.05)

    def wait_for_daemon_end(self, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while self.is_running():
            assert time.monotonic() < deadline, f"the daemon {self.pid} does not end"
            time.sleep(0.02)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) << 10


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def zramfs(*arguments: object, companion: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command; its output and exit code."""
    return subprocess.run(
        [ZRAMFS, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"ZRAMFS_NO_COMPANION": "" if companion else "1"} | environment,
    )


@dataclass(frozen=True)
class AttachedLoop:
    """A loop device as it is attached: whoever attaches the same one later gives it another sequence number."""

    node: str
    sequence: str

    @classmethod
    def of(cls, node: str) -> "AttachedLoop":
        return cls(node, _sequence_of(node))

    def is_attached(self) -> bool:
        names = subprocess.check_output(["losetup", "--list", "--noheadings", "--output=NAME"], text=True).split()
        return self.node in names and _sequence_of(self.node) == self.sequence


def _sequence_of(node: str) -> str:
    """Return the diskseq, from Linux 5.15 on."""
    file = Path("/sys/block", Path(node).name, "diskseq")
    return file.read_text().strip() if file.exists() else ""


@cache
def _prepared(*, companion: bool, packages: str) -> PreparedVerbs:
    """Have a process of its own for each set of packages that can be imported: it finds backends when it imports."""
    del packages
    verbs = PreparedVerbs(companion=companion)
    atexit.register(verbs.close)
    return verbs


def prepared(
    *arguments: object, companion: bool = True, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a verb as `zramfs` does, without the time that a process takes to start."""
    return _prepared(companion=companion, packages=os.environ.get("PYTHONPATH", "")).run(*arguments, folder=folder)


def is_mounted(path: Path) -> bool:
    return f" {path} " in Path("/proc/mounts").read_text()


def kill_with_its_fusermount(mounted: Mounted) -> None:
    """fusermount3 waits for the daemon's end to unmount for it; without both the mount stays behind, dead."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if command[0] == b"fusermount3" and str(mounted.path).encode() in command:
                os.kill(int(entry.name), signal.SIGKILL)
    os.kill(mounted.pid, signal.SIGKILL)
    mounted.wait_for_daemon_end()


@contextmanager
def repeated(work: Callable[[], None]) -> Iterator[None]:
    """Do `work` on another thread, again and again, until what is within has ended."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
