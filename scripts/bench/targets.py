"""Who is measured: zramfs, its nearest peer, the kernel's zram. Each mounts on entry and leaves no trace."""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol

from cells import BASE, DISK_BYTES, OURS, Transport
from machine import commit, debian
from process import BenchError, kill_group, run, start

from zramfs.foreign import last_line

MEMORY_BYTES = DISK_BYTES * 6 // 10
"""What one target needs: fio's data takes 0.45 of its size, the binaries 0.5, and the codecs some room."""

MOUNT_TIMEOUT_S = 30.0
BUSY_TIMEOUT_S = 5.0
POLL_S = 0.02


class UnavailableError(Exception):
    """The machine cannot have this target; the benchmark goes on without it and says so."""


class Target(Protocol):
    """A disk of DISK_BYTES, there between `__enter__` and `__exit__`."""

    name: str
    title: str
    programs: dict[str, str]
    """The programs it runs, each with what to do where it is missing."""
    commands: list[str]
    """The commands it has run, as a shell would take them."""

    def __enter__(self) -> Path:
        """Set the disk up and return its block file; raises UnavailableError or BenchError."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the disk away, whatever state it is in."""


class _Disk:
    """What all targets share: whatever of it is set up is taken away, also when the rest of it cannot be."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def __enter__(self) -> Path:
        try:
            return self._set_up()
        except BaseException:
            self._remove()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _set_up(self) -> Path:
        raise NotImplementedError

    def _remove(self) -> None:
        raise NotImplementedError


class _Mount(_Disk):
    """What the FUSE targets share: a mount point of their own, and a way out of it."""

    def __init__(self) -> None:
        super().__init__()
        self._mountpoint: Path | None = None

    def _set_up(self) -> Path:
        self._mountpoint = Path(tempfile.mkdtemp(prefix="zramfs-bench-"))
        return self._mount(self._mountpoint)

    def _mount(self, mountpoint: Path) -> Path:
        raise NotImplementedError

    def _umount_command(self, mountpoint: Path) -> list[str]:
        return ["fusermount3", "-u", str(mountpoint)]

    def _remove(self) -> None:
        mountpoint, self._mountpoint = self._mountpoint, None
        if mountpoint is None:
            return
        if os.path.ismount(mountpoint) or is_dead_mount(mountpoint):
            self._umount(mountpoint)
        with suppress(OSError):
            mountpoint.rmdir()

    def _umount(self, mountpoint: Path) -> None:
        command = self._umount_command(mountpoint)
        self.commands.append(shlex.join(command))
        try:
            retry_while_busy(lambda: run(command, timeout_s=MOUNT_TIMEOUT_S))
        except BenchError as error:
            print(f"bench: {error}; unmounting it lazily", file=sys.stderr)
            with suppress(BenchError):
                run(["fusermount3", "-u", "-z", str(mountpoint)], timeout_s=MOUNT_TIMEOUT_S)


class ZramfsTarget(_Mount):
    """The project itself, mounted by its own command line with its defaults."""

    name = OURS
    title = "zramfs"

    def __init__(self, transport: Transport | None = None) -> None:
        super().__init__()
        self._program = str(Path(sys.executable).parent / "zramfs")
        self._options = [] if transport is None else ["--transport", transport]
        self.programs = {self._program: "run `make setup`", "fusermount3": debian("fuse3")}

    @property
    def mount_command(self) -> list[str]:
        """Return how it is mounted, but for the mount point and the size."""
        return [self._program, "mount", *self._options]

    def _mount(self, mountpoint: Path) -> Path:
        command = [*self.mount_command, str(mountpoint), "--size", str(DISK_BYTES)]
        self.commands.append(shlex.join(command))
        run(command, timeout_s=MOUNT_TIMEOUT_S)
        return mountpoint / "zram0"

    def _umount_command(self, mountpoint: Path) -> list[str]:
        return [self._program, "umount", str(mountpoint)]


class BaseTarget(ZramfsTarget):
    """The zramfs of another checkout, mounted by the command line of its own .venv."""

    name = BASE

    def __init__(self, checkout: Path) -> None:
        super().__init__()
        self._program = str(checkout.resolve() / ".venv/bin/zramfs")
        self.title = f"zramfs {commit(checkout) or checkout}"
        self.programs = {self._program: f"run `make setup` in {checkout}"}


class _DaemonMount(_Mount):
    """A mount served by a process that we start and that ends with it."""

    def __init__(self) -> None:
        super().__init__()
        self._daemon: subprocess.Popen[str] | None = None

    def _daemon_command(self, disk: Path) -> list[str]:
        raise NotImplementedError

    def _mount(self, mountpoint: Path) -> Path:
        disk = mountpoint / "disk"
        command = self._daemon_command(disk)
        self.commands.append(shlex.join(command))
        self._daemon = daemon = start(command)
        wait_for(lambda: daemon.poll() is not None or disk.exists(), what=shlex.join(command))
        if daemon.poll() is not None:
            raise BenchError(f"{command[0]} ended at once: {last_line(daemon.communicate()[1])}")
        return disk

    def _remove(self) -> None:
        super()._remove()
        daemon, self._daemon = self._daemon, None
        if daemon is None:
            return
        try:
            daemon.communicate(timeout=BUSY_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            kill_group(daemon)


class PeerTarget(_DaemonMount):
    """The nearest peer: nbdkit's memory disk compressed with zstd, as a file through nbdfuse."""

    name = "peer"
    title = "nbdfuse + nbdkit zstd"

    def __init__(self) -> None:
        super().__init__()
        packages = {"nbdfuse": "libnbd-bin", "nbdkit": "nbdkit", "fusermount3": "fuse3"}
        self.programs = {program: debian(package) for program, package in packages.items()}

    def _daemon_command(self, disk: Path) -> list[str]:
        nbdkit = ["nbdkit", "-s", "--exit-with-parent", "memory", str(DISK_BYTES), "allocator=zstd"]
        return ["nbdfuse", str(disk), "--command", *nbdkit]


class NothingTarget(_DaemonMount):
    """A pyfuse3 file system that does nothing, with the reader of zramfs: `nothing`."""

    name = "nothing"
    title = "does nothing"

    def __init__(self) -> None:
        super().__init__()
        self.programs = {"fusermount3": debian("fuse3")}

    def _daemon_command(self, disk: Path) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("nothing.py")), str(disk.parent)]


class KernelTarget(_Disk):
    """The kernel's zram with lz4, on a device hot-added for the purpose; zram0 is never touched."""

    name = "kernel"
    title = "kernel zram lz4"
    _control = Path("/sys/class/zram-control")

    def __init__(self) -> None:
        super().__init__()
        self.programs: dict[str, str] = {}
        self._number: int | None = None

    def _set_up(self) -> Path:
        hot_add = self._control / "hot_add"
        if not hot_add.exists():
            raise UnavailableError("the kernel's zram is not loaded (as root: modprobe zram num_devices=0)")
        if not (os.access(hot_add, os.R_OK) and os.access(self._control / "hot_remove", os.W_OK)):
            raise UnavailableError("hot-adding a zram device needs root and a writable /sys")
        self.commands.append(f"cat {hot_add}")
        self._number = int(hot_add.read_text())
        try:
            return self._initialise(self._number)
        except OSError as error:
            raise UnavailableError(f"the kernel's zram cannot be set up: {error}") from error

    def _initialise(self, number: int) -> Path:
        attributes = Path(f"/sys/block/zram{number}")
        self._write(attributes / "comp_algorithm", "lz4")
        self._write(attributes / "disksize", str(DISK_BYTES))
        block_file = Path(f"/dev/zram{number}")
        try:
            wait_for(block_file.exists, what=f"{block_file} (no devtmpfs on /dev?)", timeout_s=2.0)
        except BenchError as error:
            raise UnavailableError(str(error)) from error
        return block_file

    def _remove(self) -> None:
        number, self._number = self._number, None
        if number is None:
            return
        try:
            retry_while_busy(lambda: self._write(Path(f"/sys/block/zram{number}/reset"), "1"))
            retry_while_busy(lambda: self._write(self._control / "hot_remove", str(number)))
        except OSError as error:
            print(f"bench: zram{number} stays behind: {error}", file=sys.stderr)

    def _write(self, attribute: Path, value: str) -> None:
        attribute.write_text(value)
        command = f"echo {value} > {attribute}"
        if command not in self.commands:
            self.commands.append(command)


TARGETS: tuple[Callable[[], Target], ...] = (ZramfsTarget, PeerTarget, KernelTarget, NothingTarget)


def is_dead_mount(mountpoint: Path) -> bool:
    """Return whether a mount is left whose daemon is gone: it answers ENOTCONN."""
    try:
        mountpoint.stat()
    except OSError:
        return True
    return False


def wait_for(condition: Callable[[], bool], *, what: str, timeout_s: float = MOUNT_TIMEOUT_S) -> None:
    """Wait until `condition`; raises BenchError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"not there after {timeout_s:.0f} s: {what}")
        time.sleep(POLL_S)


def retry_while_busy(action: Callable[[], object]) -> None:
    """Do `action`, again while it fails: udev and killed jobs hold a device for a moment longer."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            action()
        except (OSError, BenchError):
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S * 5)
        else:
            return
