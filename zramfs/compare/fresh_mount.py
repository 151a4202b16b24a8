"""A mount of its own for each run, made and taken away by `zramfs mount` and `zramfs umount`."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zramfs.compare.cpu import CpuTime, read_cpu_time
from zramfs.compare.programs import shown
from zramfs.errors import CommandFailed
from zramfs.verbs import run_verb

_DEVICE: Final = "zram0"
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
Counters = dict[str, float]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a mount had done, and spent, by a moment of the monotonic clock."""

    at_s: float
    cpu: CpuTime
    streams: Counters
    accelerator: Counters


class FreshMount:
    """A mounted zramfs seen through its files, with a folder for what the run leaves meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "mnt"
        self.commands: list[str] = []

    @property
    def block_file(self) -> Path:
        """The disk."""
        return self.path / _DEVICE

    def zramfs(self, verb: str, *arguments: str) -> str:
        """Run a verb, and remember it among the commands; CommandFailed has its line of error."""
        self.commands.append(shown("zramfs", verb, *arguments))
        return run_verb(verb, *arguments)

    def snapshot(self) -> Snapshot:
        """Read the counters and the CPU time."""
        pid = int((self.path / "sys/fs/zramfs/pid").read_text())
        return Snapshot(time.monotonic(), read_cpu_time(pid), self.stream_counters(), self.accelerator_counters())

    @property
    def stream_stat(self) -> Path:
        """The file of the streams' counters."""
        return self._attribute("stream_stat")

    def stream_counters(self) -> Counters:
        """Read what the streams have counted."""
        return parse_counters(self.stream_stat.read_text())

    def accelerator_counters(self) -> Counters:
        """Read what the accelerator has counted; nothing without one."""
        return parse_counters(self._attribute("accel/stat").read_text())

    def _attribute(self, name: str) -> Path:
        return self.path / "sys/block" / _DEVICE / name


@contextmanager
def fresh_mount(options: Sequence[str]) -> Iterator[FreshMount]:
    """Mount with the options of `zramfs mount`; unmounted at the end. CommandFailed if either cannot be done."""
    folder = Path(tempfile.mkdtemp(prefix="zramfs-compare-"))
    mount = FreshMount(folder)
    mount.path.mkdir()
    try:
        mount.zramfs("mount", str(mount.path), "--log-file", str(folder / "log"), *options)
    except CommandFailed:
        shutil.rmtree(folder)
        raise
    try:
        yield mount
    finally:
        _unmount(mount)


def _unmount(mount: FreshMount) -> None:
    """Take mount and folder away; of a mount that stays, the folder does too, for it is the way to what is stored."""
    try:
        mount.zramfs("umount", str(mount.path))
    except CommandFailed as error:
        raise CommandFailed(f"{mount.path} stays mounted: {error}") from error
    shutil.rmtree(mount.folder)


def parse_counters(text: str) -> Counters:
    """Read lines of ``key value``; what is not a number (why there are no managed streams) is left out."""
    pairs = (line.partition(" ") for line in text.splitlines())
    return {key: float(value) if "." in value else int(value) for key, _, value in pairs if _NUMBER.fullmatch(value)}


def pages_of(streams: Counters) -> float:
    """Return how many pages streams of all kinds have taken, by their counters."""
    return sum(streams[f"{kind}_pages"] for kind in ("managed", "percpu", "fallback"))
