"""A program that lets many threads use a mount in every way at once, until the mount has gone.

    hostile_load.py MOUNTPOINT SEED

Prints `ready` when all of them run. What they are refused does not matter here, but one of them reads back what it has
written: it prints `lost …` if that is something else.
"""

import contextlib
import mmap
import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path

PAGE = 4096
PLUGGING, LOOKING, WAITING = 3, 8, 150
GONE = (107, 103, 2, 19)  # ENOTCONN, ECONNABORTED, ENOENT of the mount point's own folder, ENODEV


class Load:
    """What the threads do to the mount at `root`; each method is one thread's life."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.seed = seed
        self.file = os.open(root / "zram0", os.O_RDWR | os.O_DIRECT)
        self.verified = os.open(root / "zram1", os.O_RDWR | os.O_DIRECT)

    def is_there(self) -> bool:
        return (self.root / "sys").exists()

    def _store(self, name: str, value: str) -> None:
        with contextlib.suppress(OSError):
            (self.root / "sys" / name).write_text(value)

    def plug(self) -> None:
        control = self.root / "sys/class/zram-control"
        while self.is_there():
            with contextlib.suppress(OSError):
                number = (control / "hot_add").read_text()
                self._store(f"block/zram{int(number)}/disksize", "1M")
                (control / "hot_remove").write_text(number)

    def look(self) -> None:
        count = 0
        while self.is_there():
            count += 1
            for folder in ("", "sys/block", "sys/kernel/debug/zram"):
                with contextlib.suppress(OSError):
                    (self.root / folder / f"nobody_{threading.get_ident()}_{count}").stat()

    def write_attribute(self, name: str, value: str) -> None:
        while self.is_there():
            self._store(f"block/{name}", value)

    def list_folders(self) -> None:
        while self.is_there():
            with contextlib.suppress(OSError):
                for path in (self.root / "sys").rglob("*_stat"):
                    path.read_text()

    def wait_for_the_device(self, number: int) -> None:
        page = mmap.mmap(-1, PAGE)
        page[:] = random.Random(self.seed + number).randbytes(PAGE)
        while self.is_there():
            with contextlib.suppress(OSError):
                os.pwritev(self.file, [page], number * PAGE)

    def toggle_the_device(self) -> None:
        choice = random.Random(self.seed)
        while self.is_there():
            self._store("block/zram0/accel/state", choice.choice(("offline", "online", "online", "online")))
            threading.Event().wait(choice.random() / 2)

    def read_back(self) -> None:
        choice, page, read = random.Random(self.seed), mmap.mmap(-1, PAGE), mmap.mmap(-1, PAGE)
        while self.is_there():
            place = choice.randrange(1024) * PAGE
            page[:] = choice.randbytes(PAGE // 2) + bytes(PAGE // 2)
            try:
                os.pwritev(self.verified, [page], place)
                os.preadv(self.verified, [read], place)
            except OSError as error:
                if error.errno in GONE:
                    return
                print(f"lost: {error}", flush=True)
                return
            if page[:] != read[:]:
                print(f"lost: the page at {place}", flush=True)
                return

    def lives(self) -> list[Callable[[], None]]:
        attributes = [("mem_limit", "0"), ("stream_policy", "managed"), ("idle", "all"), ("compact", "1")]
        return [
            *[self.plug] * PLUGGING,
            *[self.look] * LOOKING,
            *[
                lambda name=name, value=value, device=device: self.write_attribute(f"zram{device}/{name}", value)
                for device in range(8)
                for name, value in attributes
            ],
            self.list_folders,
            *[lambda number=number: self.wait_for_the_device(number) for number in range(WAITING)],
            self.toggle_the_device,
            self.read_back,
        ]


def main() -> None:
    load = Load(Path(sys.argv[1]), int(sys.argv[2]))
    threading.stack_size(1 << 18)
    threads = [threading.Thread(target=life) for life in load.lives()]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()


main()
