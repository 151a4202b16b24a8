"""Junk, and values that are nearly right, for every writable attribute and every option, while there is I/O.

Nothing may hang, leave a traceback, tear a page, or answer what is not documented. ZRAMFS_TEST_SEED chooses other junk.
"""

import errno
import os
import random
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from mounts import MIB, Mounted, is_mounted, prepared

from zramfs.cli.program import zramfs
from zramfs.units import memparse

Mount = Callable[..., Mounted]

SEED = int(os.environ.get("ZRAMFS_TEST_SEED", "1"))
PAGE = 4096
FUZZ_S = 6.0
LARGEST_DISK = 64 * MIB

NUMBERS = [
    "0",
    "1",
    "2",
    "64",
    "4096",
    "65536",
    "4294967296",
    "18446744073709551616",
    "-1",
    "0x10",
    "010",
    "1.5",
    "1e3",
]

NEARLY_RIGHT = {
    "disksize": ["4M", "16M", "64K\n", "0x100000", "1M junk"],
    "reset": ["1", "1\n", "65535"],
    "comp_algorithm": ["lz4", "lzo\n", "lzo-rle", "zstd", "deflate", "lz4hc"],
    "recomp_algorithm": ["algo=zstd priority=1", "algo=deflate priority=3", "algo=lz4hc"],
    "algorithm_params": ["level=1", "priority=1 level=3", "algo=lz4 level=9", "deflate.winbits=12", "dict={file}"],
    "mem_limit": ["0", "0", "64K", "1M"],
    "mem_used_max": ["0"],
    "compact": ["1"],
    "idle": ["all", "0", "1\n", "3600"],
    "recompress": ["type=idle", "type=huge max_pages=9", "type=huge_idle threshold=2000", "algo=zstd", "priority=1"],
    "backing_dev": ["{file}", "none", "/", "/dev/null", "relative", "{file}/below"],
    "writeback": ["idle", "type=huge", "huge_idle", "incompressible", "page_index=3", "page_indexes=1-9"],
    "stream_policy": ["auto", "managed", "percpu\n"],
    "when_full": ["fallback", "wait"],
    "timeout_us": ["1000"],
    "hot_remove": ["2", "3\n", "4"],
    "keeper": ["/nonexistent/keeper"],
    "memory_locked": ["0", "1", "0\n"],
}  # fmt: skip
"""Values that an attribute takes in one state or another; the others take numbers. Junk is made of them, too."""

DOCUMENTED = {
    "disksize": "EINVAL EBUSY ENOMEM",
    "reset": "EINVAL ERANGE EBUSY",
    "comp_algorithm": "EINVAL E2BIG EBUSY",
    "recomp_algorithm": "EINVAL E2BIG ERANGE EBUSY",
    "algorithm_params": "EINVAL ERANGE EBUSY",
    "recompress": "EINVAL ERANGE",
    "compressed_writeback": "EINVAL EBUSY",
    "backing_dev": "EINVAL EBUSY ENOTBLK ENOENT ENOTDIR ENAMETOOLONG ELOOP",
    "writeback": "EINVAL ENODEV ERANGE EIO ENOSPC",
    "hot_remove": "EINVAL ENODEV ERANGE EBUSY",
    "keeper": "EINVAL EIO EBUSY",
    "memory_locked": "EINVAL ERANGE ENOMEM EPERM",
}
"""The errnos of each attribute (docs/zram-abi.md); of any other only EINVAL."""

OF_IO = "EIO ENOSPC ENODEV ENOENT EBADF"
"""Over the limit or by a fault; behind the end, or without a size; removed."""


class Junk:
    """Values from bad to nearly right."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def of(self, right: list[str]) -> bytes:
        """One of `right` as it is, changed a little, repeated, or random bytes, short or too long."""
        value = self.chance.choice(right).encode()
        return self.chance.choice([self._same, self._same, self._changed, self._repeated, self._random])(value)

    @staticmethod
    def _same(value: bytes) -> bytes:
        return value

    def _changed(self, value: bytes) -> bytes:
        place = self.chance.randrange(len(value) + 1)
        inserted = self.chance.choice([b"", b"\0", b"\n", b" ", b"=", b'"', b"-", b"\xff", b"\xc3\xa4", b"9", b"%n"])
        return value[:place] + inserted + value[place + self.chance.randrange(2) :]

    def _repeated(self, value: bytes) -> bytes:
        return self.chance.choice([b"", b" ", b",", b"\n"]).join([value] * self.chance.choice([2, 40, 2000]))

    def _random(self, _value: bytes) -> bytes:
        return self.chance.randbytes(self.chance.choice([1, 8, 127, 128, 4095, 4096, 4097, 70000]))


class AttributeFuzzer:
    """Writes to every writable attribute of a mount, in any order."""

    def __init__(self, mounted: Mounted, seed: int, backing_file: Path) -> None:
        self.mounted = mounted
        self.surprises: list[str] = []
        self.count = 0
        self._junk = Junk(seed)
        self._right = {
            name: [value.format(file=backing_file) for value in values] for name, values in NEARLY_RIGHT.items()
        }

    def run(self, deadline_s: float) -> None:
        files = list(self._writable())
        while time.monotonic() < deadline_s:
            file = self._junk.chance.choice(files)
            value = self._junk.of(self._right.get(file.name, NUMBERS))
            if file.name != "disksize" or (memparse(value.decode("latin-1")) or 0) <= LARGEST_DISK:
                self._write(file, value)
                self.count += 1
            self._add_what_is_missing()

    def _writable(self) -> Iterator[Path]:
        """All but what lets the accelerator store what it was not given: that is for a fault to be seen, not junk."""
        for folder in ("sys/block/zram0", "sys/block/zram1", "sys/class", "sys/fs"):
            for file in sorted((self.mounted.path / folder).rglob("*")):
                if file.is_file() and file.stat().st_mode & 0o200 and file.name != "verify_compress":
                    yield file

    def _write(self, file: Path, value: bytes) -> None:
        begin_s = time.monotonic()
        answer = errno_of(lambda: _write_once(file, value))
        allowed = {"", "ENOENT", "ENODEV", *DOCUMENTED.get(file.name, "EINVAL").split()}
        if answer not in allowed or time.monotonic() - begin_s > 30:
            self.surprises.append(f"{file.name} <- {value[:80]!r} ({len(value)} bytes): {answer or 'late'}")

    def _add_what_is_missing(self) -> None:
        blocks = self.mounted.path / "sys/block"
        if not (blocks / "zram0").exists() or not (blocks / "zram1").exists():
            (self.mounted.path / "sys/class/zram-control/hot_add").read_text()


def _write_once(file: Path, value: bytes) -> None:
    fd = os.open(file, os.O_WRONLY)
    try:
        taken = os.write(fd, value)
    finally:
        os.close(fd)
    assert taken == min(len(value), PAGE), f"{file.name} takes {taken} of {len(value)} bytes"


def errno_of(action: Callable[[], object]) -> str:
    """Empty, or the errno's name."""
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


class CheckedIo:
    """Writes pages that name themselves, and reads each back as it was written, or as zeros if there was a reset."""

    def __init__(self, file: Path, seed: int) -> None:
        self.file = file
        self.surprises: list[str] = []
        self.successes = 0
        self._chance = random.Random(seed)

    def run(self, deadline_s: float) -> None:
        while time.monotonic() < deadline_s:
            answer = errno_of(self._some_requests)
            if answer not in {"", *OF_IO.split()}:
                self.surprises.append(f"I/O on {self.file.name}: {answer}")
            time.sleep(0.002)  # nobody has it open: a reset may come

    def _some_requests(self) -> None:
        fd = os.open(self.file, os.O_RDWR | self._chance.choice([0, os.O_DIRECT, os.O_DSYNC]))
        try:
            for _ in range(8):
                number = self._chance.randrange(64)
                if self._chance.random() < 0.5:
                    os.pwrite(fd, self._page(number), number * PAGE)
                else:
                    self._check(number, os.pread(fd, PAGE, number * PAGE))
                self.successes += 1
        finally:
            os.close(fd)

    def _page(self, number: int) -> bytes:
        body = number.to_bytes(4, "little") + self._chance.randbytes(self._chance.choice([8, 2000, 4088]))
        body = body.ljust(PAGE - 4, b"\0")[: PAGE - 4]
        return body + zlib.crc32(body).to_bytes(4, "little")

    def _check(self, number: int, page: bytes) -> None:
        body, checksum = page[:-4], page[-4:]
        is_whole = zlib.crc32(body).to_bytes(4, "little") == checksum and page[:4] == number.to_bytes(4, "little")
        if page.strip(b"\0") and not is_whole:
            self.surprises.append(f"page {number} is torn: {page[:16].hex()}…")


def test_junk_in_attributes_beside_io_is_answered_as_documented(mount: Mount, tmp_path: Path) -> None:
    print(f"ZRAMFS_TEST_SEED={SEED}")
    backing_file = tmp_path / "backing"
    backing_file.write_bytes(bytes(MIB))
    mounted = mount("--devices", 2, "--accel", "poc", size="16M")
    fuzzers = [AttributeFuzzer(mounted, SEED * 10 + number, backing_file) for number in range(2)]
    io = [CheckedIo(mounted.path / f"zram{number % 2}", SEED * 10 + number) for number in range(2)]
    deadline_s = time.monotonic() + FUZZ_S
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(each.run, deadline_s) for each in (*fuzzers, *io)]:
            done.result()
    assert [surprise for each in (*fuzzers, *io) for surprise in each.surprises] == []
    assert all(each.count > 100 for each in fuzzers)
    assert all(each.successes > 100 for each in io)
    assert_usable(mounted)


def assert_usable(mounted: Mounted) -> None:
    """Whatever it was told, a reset and a size make it a disk again."""
    mounted.attribute("reset").write_text("1")
    mounted.attribute("disksize").write_text("16M")
    data = random.Random(SEED).randbytes(MIB)
    with mounted.file.open("r+b", buffering=0) as file:
        assert file.write(data) == MIB
        assert os.pread(file.fileno(), MIB, 0) == data
    assert len(mounted.status()["devices"]) >= 2


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb, with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def options_with_values() -> list[tuple[tuple[str, ...], str]]:
    """Every option of every verb that takes a value."""
    return [
        (words, parameter.opts[0])
        for words, command in commands(zramfs)
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.is_flag
    ]


def test_junk_in_options_gets_one_line_or_works(tmp_path: Path) -> None:
    print(f"ZRAMFS_TEST_SEED={SEED}")
    junk = Junk(SEED)
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    for words, option in options_with_values():
        value = junk.of(["16M", "lz4", "zram0", "qpace,engines=2", "managed", "policy=auto", "7", "x"])
        value = value.replace(b"\0", b"").replace(b"/", b"")[:PAGE]
        others = {("compare",): ["--workload", "nothing.fio"], ("run",): ["true"]}.get(words, [mountpoint])
        run_with_junk(tmp_path, [*words, os.fsencode(option) + b"=" + value, *others])
        if is_mounted(mountpoint):
            assert prepared("umount", mountpoint).returncode == 0


def test_junk_instead_of_arguments_gets_one_line(tmp_path: Path) -> None:
    print(f"ZRAMFS_TEST_SEED={SEED}")
    junk = Junk(SEED)
    (tmp_path / "not empty").touch()
    for words, command in commands(zramfs):
        arguments = [each for each in command.params if isinstance(each, click.Argument)]
        values = [junk.of(["mnt", "-x", "ideal", "--"]).replace(b"\0", b"")[:PAGE] for _ in arguments]
        if values:
            may_be_left_out = not all(each.required for each in arguments)
            assert run_with_junk(tmp_path, [*words, *values]) in ((0, 1, 2) if may_be_left_out else (1, 2))


def run_with_junk(folder: Path, arguments: list[str | bytes | Path]) -> int:
    """The exit code; what fails, does so with one line that is no traceback."""
    done = prepared(*arguments, folder=folder)
    shown = f"{arguments} {done.returncode} {done.stderr}"
    assert done.returncode in (0, 1, 2), shown
    assert "Traceback" not in done.stderr, shown
    if done.returncode:
        assert done.stderr.count("\n") == 1, shown
    return done.returncode
