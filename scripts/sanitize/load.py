"""A mount under load: what fio writes it verifies, while others overwrite, discard, ask, and look after the device."""

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from builds import Build
from uring_switch import SWITCH, uring_switched_on

MIB = 1 << 20
SIZE_MIB = 192
DAEMON_END_S = 60.0
COMMAND_S = 600.0
UPKEEP_S = 0.05

MOUNTS = (
    ("--accel", "ideal"),
    ("--accel", "none"),
    (
        "--accel",
        "iaa,engines=2,fault_corrupt=0.02,fault_timeout=0.002,timeout_us=5000,when_full=wait",
        "--stream-policy",
        "managed",
    ),
)

VERIFIED = ("--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--buffer_compress_percentage=60")
DIRECT = ("--direct=1", "--ioengine=libaio")

JOBS: dict[str, tuple[str, ...]] = {
    "four writers of 4K": (
        "--rw=randwrite",
        "--bs=4k",
        "--size=4M",
        "--offset_increment=4M",
        "--numjobs=4",
        "--direct=1",
    ),
    "4K, depth 32": (*DIRECT, "--iodepth=32", "--rw=randwrite", "--bs=4k", "--size=16M"),
    "1M, depth 8": (*DIRECT, "--iodepth=8", "--rw=write", "--bs=1M", "--size=128M"),
    "parts of pages, buffered": ("--rw=randwrite", "--bsrange=512-128k", "--bs_unaligned", "--size=16M"),
    "4K, synchronous": ("--rw=randwrite", "--bs=4k", "--size=2M", "--sync=1", "--direct=1"),
}

# Of these, which all have the same pages, only the sanitizer knows whether they are right.
OVERLAPPING = (
    "fio", "--thread", "--size=8M", "--time_based", "--direct=1", "--output-format=terse",
    "--buffer_compress_percentage=60", "--allow_file_create=0", "--fallocate=none",
    "--name=small", "--rw=randrw", "--bs=4k", "--numjobs=2", "--ioengine=psync",
    "--name=large", "--rw=randrw", "--bs=256k", "--ioengine=libaio", "--iodepth=4",
    "--name=parts", "--rw=randrw", "--bs=512", "--ioengine=psync",
    "--name=discard", "--rw=randtrim", "--bs=64k", "--ioengine=falloc", "--rate_iops=500",
)  # fmt: skip


class LoadError(Exception):
    """Something did not do what it should: the message says what."""


class Load:
    """One mount after the other of one build."""

    def __init__(self, build: Build, *, overlapping_s: float) -> None:
        self._build = build
        self._overlapping_s = overlapping_s
        self._zramfs = Path(sys.executable).with_name("zramfs")

    def run(self) -> list[str]:
        """Return what failed; what the sanitizer found is in its reports."""
        failures = []
        with uring_switched_on() as has_uring:
            if not has_uring:
                print(f"  no mounts over io_uring: {SWITCH} cannot be switched on", flush=True)
            for transport in ("dev", "uring") if has_uring else ("dev",):
                failures += [failure for options in MOUNTS for failure in self._run_by(transport, options)]
        return failures

    def _run_by(self, transport: str, mount_options: tuple[str, ...]) -> list[str]:
        """Return how it failed, if it did."""
        options = (*mount_options, "--transport", transport)
        print(f"  zramfs mount {shlex.join(options)}", flush=True)
        try:
            self._run_on(options)
        except LoadError as error:
            return [f"with {shlex.join(options)}: {error}"]
        return []

    def _run_on(self, options: tuple[str, ...]) -> None:
        with self._mounted(options) as mountpoint:
            block_file = mountpoint / "zram0"
            fio = ("fio", f"--filename={block_file}", "--allow_file_create=0", "--name=load", *VERIFIED)
            for name, job in JOBS.items():
                self._run_fio(name, (*fio, *job))
            self._overlap(block_file)

    def _run_fio(self, name: str, command: tuple[str, ...]) -> None:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_S)
        if result.returncode != 0:
            raise LoadError(f"{name}: {shlex.join(command)}\n{result.stderr}{result.stdout}")

    def _overlap(self, block_file: Path) -> None:
        """Let several do everything to the same pages, and look after the device meanwhile."""
        at = OVERLAPPING.index("--thread") + 1
        options = (f"--filename={block_file}", f"--runtime={self._overlapping_s:.0f}")
        command = (*OVERLAPPING[:at], *options, *OVERLAPPING[at:])
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + COMMAND_S
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
                raise LoadError("the overlapping jobs do not end")
            look_after(block_file)
            time.sleep(UPKEEP_S)
        _, said = process.communicate()
        if process.returncode != 0:
            raise LoadError(f"overlapping jobs: {said}")

    @contextmanager
    def _mounted(self, options: tuple[str, ...]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="zramfs-sanitize-") as folder:
            mountpoint, log = Path(folder, "mnt"), Path(folder, "log")
            mountpoint.mkdir()
            self._command("mount", str(mountpoint), "--size", f"{SIZE_MIB}M", "--log-file", str(log), *options)
            pid = int((mountpoint / "sys/fs/zramfs/pid").read_text())
            try:
                yield mountpoint
            finally:
                self._command("umount", str(mountpoint))
                wait_for_end(pid)
            if "Traceback" in log.read_text():
                raise LoadError(log.read_text())

    def _command(self, *arguments: str) -> str:
        """Run a verb; returns what it prints."""
        command = [*self._build.prefix, str(self._zramfs), *arguments]
        environment = self._build.environment()
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=self._build.folder,
            timeout=COMMAND_S,
        )
        if result.returncode != 0:
            raise LoadError(f"zramfs {shlex.join(arguments)} ends with {result.returncode}: {result.stderr}")
        return result.stdout


def look_after(block_file: Path) -> None:
    """Read every attribute, compact, and mark all pages idle: what comes from the event loop beside requests."""
    attributes = block_file.parent / "sys/block" / block_file.name
    for name, value in (("compact", "1"), ("idle", "all")):
        with suppress(OSError):
            (attributes / name).write_text(value)
    for path in attributes.iterdir():
        with suppress(OSError):  # some are for writing only
            if path.is_file():
                path.read_text()


def wait_for_end(pid: int) -> None:
    """Wait until the daemon has ended, and its last report is written."""
    deadline = time.monotonic() + DAEMON_END_S
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            raise LoadError(f"the daemon {pid} does not end")
        time.sleep(UPKEEP_S)
