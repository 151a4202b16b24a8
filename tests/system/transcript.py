"""A script of questions to a zram device in each of its states: fresh, initialised, written, full, reset, removed.

It asks the kernel's device and ours the same, by paths and system calls only; test_transcript.py compares the answers.
"""

import ctypes
import errno
import fcntl
import itertools
import mmap
import os
import random
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

PAGE = 4096
LIBC = ctypes.CDLL(None, use_errno=True)

READABLE = (
    "disksize", "initstate", "comp_algorithm", "mm_stat", "io_stat", "debug_stat",
    "stat", "size", "dev", "ro", "removable", "hidden", "range", "ext_range", "alignment_offset",
    "queue/discard_granularity", "queue/hw_sector_size", "queue/logical_block_size", "queue/minimum_io_size",
    "queue/optimal_io_size", "queue/physical_block_size", "queue/max_segments", "queue/zoned",
    "queue/discard_max_hw_bytes",
    "queue/max_write_streams", "queue/atomic_write_max_bytes", "queue/write_zeroes_unmap_max_hw_bytes",
)  # fmt: skip

HARMLESS_VALUES = {
    "disksize": [
        "", "0", "abc", "M", "-1", " 1M", "+1M", "\n", "0x", "08", "\x001M", "1E", "2E", "16E",
        "0x1000000000000001", "18446744073709551615",
    ],
    "reset": ["", "0", "x", "-1", "65536", "70000", "1x", "0x1", " 1", "99999999999999999999999"],
    "comp_algorithm": ["", "\n", "nope", "LZ4", "lz4x", "lz4 ", " lz4", "x" * 127, "x" * 128, "x" * 4000],
    "algorithm_params": [
        "", "\n", "level", "level=", "level=x", "level=1x", "level=2147483648", "level=-2147483649", "level=1 level",
        "priority=9", "priority=-1", "priority=x", "priority=4294967296", "algo", "algo=nope", "algo=zstd level=1",
        "dict=", "dict=/nonexistent", "dict=/", "deflate.winbits=x", "bogus=1", "bogus=", "bogus", "=1",
        'level="7"', "level=3\n", "  level=3  ", "priority=0", "level=1",
    ],
    "mem_limit": ["", "abc", "-1", " 1M", "0x10000", "010000", "64K and junk", "5000", "64k\n", "0\0junk", "0"],
    "mem_used_max": ["", "1", "x", "-1", "0x0", "0x", "18446744073709551616", "00", "0\n", "0"],
    "compact": ["", "1", "x"],
    "idle": ["", "x", "ALL", "all ", " all", "-1", "1.5", "0x", "5", "all\n", "all\0junk", "all"],
    "queue/rotational": ["", "x", "-1", "1 ", "+1", "0x1", "4294967296", "0", "2\n"],
    "queue/add_random": ["x", "0", "1"],
    "queue/iostats_passthrough": ["x", "2", "0"],
    "queue/stable_writes": ["x", "0", "1"],
    "queue/nomerges": ["x", "1", "3", "2"],
    "queue/read_ahead_kb": ["x", "-1", "4294967296", "5", "0", "128\n"],
    "queue/max_sectors_kb": ["x", "3", "125", "0", "101"],
    "queue/discard_max_bytes": ["x", "1", "4095", "2199023255040", "2199023259136", "1x", "8192"],
    "queue/write_cache": ["", "x", "write", "write back\n", "none", "write throughs"],
    "queue/write_zeroes_unmap_max_bytes": ["x", "4096", "0"],
    "queue/io_poll": ["", "0", "1"],
    "queue/io_poll_delay": ["", "x", "5"],
}  # fmt: skip
"""What leaves a device in the state that it is in."""

SIZES = ("4096", "1", "16777217", "1M", "1m", "64K\n", "0x10000", "010000", "8KB", "2M and junk")

PARAMETERS = (
    ("lz4", "level=9"),
    ("lz4", "level=-3"),
    ("lz4", "level=70000"),
    ("lz4", "deflate.winbits=-9"),
    ("lz4", "dict=/etc/passwd"),
    ("lz4", "level=5 dict=/etc/passwd"),
    ("lz4", "dict=/dev/null"),
    ("lz4", "dict=/proc/version"),
    ("lz4", "dict=passwd"),
    ("lz4", "dict=./nonexistent"),
    ("lz4", "algo=lz4 priority=2 level=1"),
    ("lzo", "algo=lzo"),
    ("lzo", "level=3"),
    ("lzo", "dict=/etc/passwd deflate.winbits=5"),
    ("lzo-rle", "level=-7"),
)
"""Of an algorithm. Only when the device is given a size does it show whether it can take them."""

FOLDER = "/etc"
"""Where the script is while it asks: relative paths begin there."""

FALLOCATIONS = {
    "keeping the size": 1, "enlarging": 0, "hole": 3, "hole that may shrink": 2, "zeros": 16,
    "zeros keeping the size": 17, "collapse": 8, "insert": 32, "unshare": 64,
}  # fmt: skip
"""Modes of fallocate(2)."""

FIBMAP = 1
RWF_APPEND = 0x10


class Disk(NamedTuple):
    """A device: its attributes, its block device or file, and the folder of hot_remove."""

    number: int
    attributes: Path
    block_file: Path
    control: Path


def attempt(question: Callable[[], object]) -> str:
    """The answer, or the errno's name."""
    try:
        return str(question())
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def store(path: Path, value: str, flags: int = os.O_WRONLY) -> str:
    """What one write(2) gets."""

    def write() -> str:
        fd = os.open(path, flags)
        try:
            return f"ok({os.write(fd, value.encode())})"
        finally:
            os.close(fd)

    return attempt(write)


def store_when_closed(path: Path, value: str) -> str:
    """What it gets once nobody has the device open: udev looks at what is new to it, for a moment."""
    deadline = time.monotonic() + 5
    while (answer := store(path, value)) == "EBUSY" and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer


class Script:
    """Asks a device everything; its answers by their questions, each of which begins with the device's state."""

    def __init__(self, disk: Disk, show_as: Callable[[str, str], str]) -> None:
        """`show_as`: what to note of an attribute, by its name and what it shows."""
        self.answers: dict[str, str] = {}
        self._disk = disk
        self._show_as = show_as
        self._state = "fresh"
        self._buffer = mmap.mmap(-1, PAGE)
        self._chance = random.Random(1)

    def run(self) -> dict[str, str]:
        with chdir(FOLDER):
            return self._run()

    def _run(self) -> dict[str, str]:
        self._ask_everything()
        self._ask_block_file()
        self._ask_sizes()
        self._ask_parameters()
        self._initialise()
        self._ask_everything()
        self._ask_block_file()
        self._write()
        self._ask_everything()
        self._ask_unusually()
        self._reach_the_limit()
        self._reset()
        self._ask_everything()
        self._ask_block_file()
        self._remove()
        return self.answers

    def _note(self, question: str, answer: object) -> None:
        question = f"{self._state}: {question}"
        assert question not in self.answers, f"{question} is asked twice"
        self.answers[question] = str(answer)

    def _store(self, name: str, value: str, note: str = "") -> None:
        shown = f"{value[:20]}…({len(value)})" if len(value) > 40 else value
        self._note(f"{note}{name} <- {shown!r}", store(self._path(name), value))

    def _path(self, name: str) -> Path:
        return self._disk.attributes / name

    def _show(self, name: str) -> str:
        return self._show_as(name, attempt(self._path(name).read_text))

    def _ask_everything(self) -> None:
        for name in sorted({*READABLE, *HARMLESS_VALUES}):
            self._note(f"mode and size of {name}", attempt(partial(self._mode_and_size, self._path(name))))
            self._note(name, self._show(name))
            self._note(f"{name} in two parts", self._show_in_two_parts(name))
        for name in READABLE:
            if name not in HARMLESS_VALUES:
                self._store(name, "0")
        for name, values in HARMLESS_VALUES.items():
            for value in values:
                self._store(name, value)
        for name in ("disksize", "initstate", "comp_algorithm", "mm_stat", "io_stat"):
            self._note(f"{name} after all that", self._show(name))
        self._ask_ways_to_open()

    @staticmethod
    def _mode_and_size(path: Path) -> str:
        status = path.stat()
        return f"{stat.S_IMODE(status.st_mode):04o} {status.st_size}"

    def _show_in_two_parts(self, name: str) -> str:
        def read() -> str:
            fd = os.open(self._path(name), os.O_RDONLY)
            try:
                return (os.pread(fd, 3, 0) + os.pread(fd, PAGE, 3)).decode()
            finally:
                os.close(fd)

        return self._show_as(name, attempt(read))

    def _ask_ways_to_open(self) -> None:
        ways = {
            "to read and write": os.O_RDWR,
            "truncating": os.O_WRONLY | os.O_TRUNC,
            "as a shell's >": os.O_WRONLY | os.O_TRUNC | os.O_CREAT,
            "as a shell's >>": os.O_WRONLY | os.O_APPEND | os.O_CREAT,
            "for direct I/O": os.O_WRONLY | os.O_DIRECT,
            "as a new file": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
        }
        for way, flags in ways.items():
            for name in ("mem_limit", "mm_stat", "disksize"):
                self._note(f"{name} opened {way} <- '0'", store(self._path(name), "0", flags))

    def _ask_for_changes_of_names(self) -> None:
        folder, name = self._disk.attributes, self._path("mem_limit")
        changes: dict[str, Callable[[], object]] = {
            "create": lambda: os.open(folder / "new", os.O_WRONLY | os.O_CREAT),
            "mknod": lambda: os.mknod(folder / "new"),
            "mkfifo": lambda: os.mkfifo(folder / "new"),
            "mkdir": (folder / "new").mkdir,
            "symlink": lambda: (folder / "new").symlink_to("x"),
            "link": lambda: os.link(name, folder / "new"),
            "rename": lambda: name.rename(folder / "new"),
            "unlink": name.unlink,
            "rmdir": (folder / "queue").rmdir,
            "listxattr": lambda: os.listxattr(name),
            "listxattr of the block file": lambda: os.listxattr(self._disk.block_file),
            "truncate an attribute": lambda: os.truncate(name, 0),
        }
        for change, attempted in changes.items():
            self._note(change, attempt(attempted))

    def _ask_unusually(self) -> None:
        """What hardly anybody calls. The block file holds the same afterwards."""
        self._state = "unusual"
        self._ask_for_changes_of_names()
        with self._opened() as fd:
            end = os.lseek(fd, 0, os.SEEK_END)
            spans = {"at 200": (200, 2), "at the end": (end // PAGE - 1, 1), "across the end": (end // PAGE - 1, 2)}
            spans |= {"behind the end": (end // PAGE, 1), "far behind it": (end // PAGE * 2, 1), "of nothing": (0, 0)}
            for (kind, mode), (place, (first, count)) in itertools.product(FALLOCATIONS.items(), spans.items()):
                self._note(f"fallocate {kind}, {place}", self._fallocate(fd, mode, first * PAGE, count * PAGE))
            for size in (0, PAGE, end + PAGE, end):
                self._note(f"truncate to {size}", attempt(lambda size=size: os.ftruncate(fd, size)))
            self._note("FIBMAP", attempt(lambda: fcntl.ioctl(fd, FIBMAP, bytes(4)) and "ok"))
            self._note("write with RWF_APPEND", attempt(lambda: os.pwritev(fd, [bytes(PAGE)], 0, RWF_APPEND)))
        with self._opened(os.O_APPEND) as fd:
            self._note("write with O_APPEND", attempt(lambda: os.write(fd, bytes(PAGE))))
            os.fsync(fd)
        self._note_discard(0, 1)

    @staticmethod
    def _fallocate(fd: int, mode: int, offset: int, size: int) -> str:
        if LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size)) == 0:
            return "ok"
        return errno.errorcode[ctypes.get_errno()]

    @contextmanager
    def _opened(self, flags: int = 0) -> Iterator[int]:
        fd = os.open(self._disk.block_file, os.O_RDWR | flags)
        try:
            yield fd
        finally:
            os.close(fd)

    def _ask_block_file(self) -> None:
        with self._opened() as fd:
            end = os.lseek(fd, 0, os.SEEK_END)
            self._note("where the block file ends", end)
            self._note("read the first byte", attempt(lambda: os.pread(fd, 1, 0)))
            self._note("read at the end", attempt(lambda: os.pread(fd, 1, end)))
            self._note("write at the end", attempt(lambda: os.pwrite(fd, b"x", end)))
            self._note("fsync", attempt(lambda: os.fsync(fd)))
            self._note("reset while open", store(self._path("reset"), "1"))
            self._note("hot_remove while open", store(self._disk.control / "hot_remove", str(self._disk.number)))

    def _ask_sizes(self) -> None:
        self._state = "sizes"
        for size in SIZES:
            self._store("disksize", size)
            self._note(f"shown of {size!r}", [self._show(name) for name in ("disksize", "initstate", "size")])
            self._note(f"reset after {size!r}", store_when_closed(self._path("reset"), "1"))
            self._note(f"disksize after {size!r}", self._show("disksize"))

    def _ask_parameters(self) -> None:
        self._state = "parameters"
        for algorithm, parameters in PARAMETERS:
            note = f"{algorithm} with {parameters}: "
            self._store("comp_algorithm", algorithm, note)
            self._store("algorithm_params", parameters, note)
            self._store("disksize", "1M", note)
            self._note(f"{note}reset", store_when_closed(self._path("reset"), "1"))

    def _initialise(self) -> None:
        self._store("comp_algorithm", "lz4\n")
        self._store("disksize", "16777217")
        self._state = "initialised"
        for name, value in (("disksize", "1M"), ("comp_algorithm", "lz4"), ("comp_algorithm", "lzo")):
            self._store(name, value)

    def _write(self) -> None:
        """Pages of each kind, over nothing and over another; what a discard frees; what is refused."""
        self._state = "writing"
        random_bytes = self._chance.randbytes
        pages = {
            "zeros": bytes(PAGE),
            "one word": random_bytes(8) * 512,
            "seven bytes": (random_bytes(7) * 600)[:PAGE],
            "incompressible": random_bytes(PAGE),
            "three quarters": random_bytes(3000) + bytes(1096),
            "just compressible": random_bytes(3580) + bytes(516),
            "just incompressible": random_bytes(3620) + bytes(476),
        }
        with self._opened(os.O_DIRECT) as fd:
            for number, (kind, page) in enumerate(pages.items()):
                self._note_write(fd, number, page, f"write {kind}")
            for kind, page in pages.items():
                self._note_write(fd, 5, page, f"overwrite with {kind}")
            for first, count in ((0, 1), (0, 2), (3, 2), (100, 8)):
                self._note_discard(first, count)
            self._note("write 512 bytes", attempt(lambda: os.pwrite(fd, memoryview(self._buffer)[:512], 8 * PAGE)))
            self._note_discard(8, 1)
            kept = [self._read_page(fd, number) == pages[kind] for number, kind in ((2, "seven bytes"), (5, kind))]
            self._note("what is kept is what was written", kept)
            self._note("a hole reads as zeros", self._read_page(fd, 3) == bytes(PAGE))
        self._state = "written"

    def _note_write(self, fd: int, number: int, page: bytes, what: str) -> None:
        self._buffer[:] = page
        self._note(what, attempt(lambda: os.pwrite(fd, self._buffer, number * PAGE)))
        self._note_statistics(what)

    def _note_statistics(self, after: str) -> None:
        self._note(f"statistics after {after}", self._show("mm_stat") + self._show("io_stat"))

    def _note_discard(self, first: int, count: int) -> None:
        what = f"discard {count} from page {first}"
        punch = ["fallocate", "--punch-hole", f"--offset={first * PAGE}", f"--length={count * PAGE}"]
        self._note(what, subprocess.run([*punch, self._disk.block_file], check=False).returncode)
        self._note_statistics(what)

    def _read_page(self, fd: int, number: int) -> bytes:
        os.preadv(fd, [self._buffer], number * PAGE)
        return self._buffer[:]

    def _reach_the_limit(self) -> None:
        self._state = "full"
        self._store("mem_limit", "8K")
        with self._opened(os.O_DIRECT) as fd:
            for number in range(3):
                self._note_write(fd, 1000 + number, self._chance.randbytes(PAGE), f"write {number} more")
            self._note_write(fd, 2, bytes(PAGE), "write zeros")
        self._store("mem_used_max", "0")
        self._store("compact", "1")
        self._note_statistics("mem_used_max and compact")

    def _reset(self) -> None:
        self._note("reset", store_when_closed(self._path("reset"), "65535"))
        self._state = "reset"
        self._note("comp_algorithm to begin with", self._show("comp_algorithm"))
        self._store("comp_algorithm", "lz4")

    def _remove(self) -> None:
        self._note("hot_remove", store_when_closed(self._disk.control / "hot_remove", f"{self._disk.number}\n"))
        self._state = "removed"
        self._note("disksize", self._show("disksize"))
        self._note("block file", attempt(self._disk.block_file.stat))
        self._note("hot_remove again", store(self._disk.control / "hot_remove", str(self._disk.number)))
