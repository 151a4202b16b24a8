"""`make demo`: zramfs used for real, and everything verified. Every command is shown, so that it can be typed again."""

import filecmp
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ZRAMFS = Path(sys.executable).with_name("zramfs")
HOG = ("-m", "zramfs.compare.memory_hog")
TREE = Path("/usr/share/doc")
SIZE = "1G"

console = Console(highlight=False)


class Demo:
    """One mount, from `zramfs mount` to `zramfs umount`, and what was verified on the way."""

    def __init__(self, folder: Path, undo: ExitStack) -> None:
        self.folder = folder
        self.mountpoint = folder / "mnt"
        self.block_file = self.mountpoint / "zram0"
        self.undo = undo
        self.verified: list[tuple[str, str]] = []

    def run(self, *command: str | Path) -> str:
        """Show a command, run it, and return what it prints; the demo ends if it fails."""
        words = [str(word) for word in command]
        console.print(f"[bold]$ {shlex.join(words).replace(str(ZRAMFS), 'zramfs')}[/bold]", soft_wrap=True)
        result = subprocess.run(words, capture_output=True, text=True, check=False)
        if result.returncode:
            sys.exit(f"demo: {words[0]} failed ({result.returncode}): {result.stderr.strip() or result.stdout.strip()}")
        return result.stdout.strip()

    def zramfs(self, *arguments: str | Path) -> str:
        return self.run(ZRAMFS, *arguments)

    def status(self) -> dict[str, Any]:
        """What `zramfs status --json` says of zram0."""
        command = [ZRAMFS, "status", "--json", self.mountpoint]
        device: dict[str, Any] = json.loads(subprocess.check_output(command))["devices"][0]
        return device

    def mount(self) -> None:
        self.mountpoint.mkdir()
        self.zramfs("mount", self.mountpoint, "--size", SIZE, "--log-file", self.folder / "log")
        self.undo.callback(self.unmount)

    def unmount(self) -> None:
        self.zramfs("umount", self.mountpoint)

    def fio(self, what: str, *options: str) -> dict[str, int]:
        """Write and verify with fio; returns how many pages each kind of stream took meanwhile."""
        before = self.status()["streams"]
        self.run(
            "fio", "--name=demo", f"--filename={self.block_file}", "--buffer_compress_percentage=60",
            "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", *options,
        )  # fmt: skip
        after = self.status()["streams"]
        taken = {kind: after[f"{kind}_pages"] - before[f"{kind}_pages"] for kind in ("managed", "fallback", "percpu")}
        shares = ", ".join(f"{pages:,} {kind}" for kind, pages in taken.items())
        console.print(f"  verified; pages by stream: {shares}")
        self.verified.append((what, f"crc32c of every block; {shares}"))
        return taken

    def write_with_fio(self) -> None:
        """Four ways to write, and which streams they take."""
        flood = self.fio(
            "O_DIRECT libaio, 4K random, depth 32",
            "--direct=1", "--ioengine=libaio", "--iodepth=32", "--rw=randwrite", "--bs=4k", "--size=256M",
        )  # fmt: skip
        large = self.fio(
            "O_DIRECT io_uring, 1M, depth 8",
            "--direct=1", "--ioengine=io_uring", "--iodepth=8", "--rw=write", "--bs=1M", "--size=512M",
        )  # fmt: skip
        sync = self.fio(
            "psync with sync=1, 4K random",
            "--ioengine=psync",
            "--sync=1",
            "--rw=randwrite",
            "--bs=4k",
            "--size=64M",
        )
        self.fio("mmap, 4K random", "--ioengine=mmap", "--rw=randwrite", "--bs=4k", "--size=64M")
        expect("the first two are managed", flood["managed"] > 0 and large["managed"] > 0)
        expect("their managed share is most of it", flood["percpu"] + large["percpu"] == 0)
        expect("the third is per-CPU", sync["percpu"] > 0 and sync["managed"] + sync["fallback"] == 0)

    def make_file_system(self) -> None:
        """A file system on a loop device: copy a real tree, check, mount again, compare every file."""
        loop = self.zramfs("loop", "attach", self.mountpoint)
        with ExitStack() as undo:
            undo.callback(self.zramfs, "loop", "detach", self.mountpoint)
            self.run("mkfs.ext4", "-q", loop)
            target = self.folder / "ext4"
            target.mkdir()
            self.run("mount", loop, target)
            with ExitStack() as unmount:
                unmount.callback(self.run, "umount", target)
                self.run("cp", "-a", TREE, target)
            self.run("e2fsck", "-fn", loop)
            self.run("mount", loop, target)
            undo.callback(self.run, "umount", target)
            files, size_bytes = compare_trees(TREE, target / TREE.name)
        self.verified.append(
            (
                "ext4 on a loop device",
                f"e2fsck clean; {files:,} files, {size_bytes >> 20} MiB equal after a remount",
            )
        )

    def swap(self) -> None:
        """Swap under real pressure."""
        self.zramfs("swap", "on", self.mountpoint)
        with ExitStack() as undo:
            undo.callback(self.zramfs, "swap", "off", self.mountpoint)
            said = self.run(sys.executable, *HOG, "256", "64")
        console.print(f"  {said}")
        self.verified.append(("swap", said))

    def summarise(self, began: float) -> None:
        device = self.status()
        memory, streams = device["mm_stat"], device["streams"]
        table = Table("what", "verified", title="What was verified", title_justify="left")
        for row in self.verified:
            table.add_row(*row)
        console.print(table)
        console.print(
            f"memory of the pool: {memory['mem_used_max'] >> 20} MiB at its peak, "
            f"{memory['mem_used_total'] >> 10} KiB now that swap has ended"
        )
        pages = ", ".join(f"{streams[f'{kind}_pages']:,} {kind}" for kind in ("managed", "fallback", "percpu"))
        console.print(f"pages by stream: {pages}; took {time.monotonic() - began:.0f} s")


def compare_trees(left: Path, right: Path) -> tuple[int, int]:
    """Compare every regular file byte by byte; how many, and how large they are together."""
    files = size_bytes = 0
    for folder, _, names in os.walk(left):
        for name in names:
            original = Path(folder, name)
            if original.is_symlink() or not original.is_file():
                continue
            copy = right / original.relative_to(left)
            expect(f"{copy} equals {original}", copy.is_file() and filecmp.cmp(original, copy, shallow=False))
            files += 1
            size_bytes += original.stat().st_size
    expect(f"there are files in {left}", files > 0)
    return files, size_bytes


def expect(what: str, holds: bool) -> None:  # noqa: FBT001
    if not holds:
        sys.exit(f"demo: it does not hold that {what}")


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("demo: mounts, loop devices and swap need root: sudo make demo")
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="zramfs-demo-"))
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        demo = Demo(folder, undo)
        demo.mount()
        demo.write_with_fio()
        demo.make_file_system()
        demo.swap()
        demo.summarise(began)
    with suppress(FileNotFoundError):
        expect("nothing is left behind", not any(folder.iterdir()))


if __name__ == "__main__":
    main()
