"""A backing device that hangs: a block file of another mount, whose daemon is stopped. Nothing else waits for it."""

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mounts import Mounted
from test_attributes import answer

Mount = Callable[..., Mounted]
UsersOf = Callable[..., "subprocess.Popen[str]"]

WRITTEN_BACK, PAGES = 1024, 1280
USERS = 2000
ANSWER_S = 1.0

USE = """
import collections, mmap, os, sys, threading
file, count, pages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
threading.stack_size(1 << 16)
fd = os.open(file, os.O_RDWR | os.O_DIRECT)
outcomes = collections.Counter()
def use(number):
    try:
        if number % 2:
            os.pwrite(fd, b"x", number % pages * 4096 + 1)
        else:
            os.preadv(fd, [mmap.mmap(-1, 4096)], number % pages * 4096)
        outcomes["done"] += 1
    except OSError as error:
        outcomes[error.strerror] += 1
threads = [threading.Thread(target=use, args=(number,)) for number in range(count)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(dict(outcomes))
"""


@contextmanager
def stopped(mounted: Mounted) -> Iterator[None]:
    os.kill(mounted.pid, signal.SIGSTOP)
    try:
        while any(" T " not in stat.read_text() for stat in Path(f"/proc/{mounted.pid}/task").glob("*/stat")):
            time.sleep(0.001)
        yield
    finally:
        os.kill(mounted.pid, signal.SIGCONT)


def mount_with_pages(mount: Mount, backing: Mounted, random: bytes, *, companion: bool = True) -> Mounted:
    """Mount a device whose first pages are in a backing device, and whose others are in memory."""
    mounted = mount(size=None, companion=companion)
    mounted.attribute("backing_dev").write_text(str(backing.file))
    mounted.attribute("disksize").write_text("64M")
    with mounted.file.open("r+b", buffering=0) as file:
        file.write(random)
        os.fsync(file.fileno())
    mounted.attribute("writeback").write_text(f"page_indexes=0-{WRITTEN_BACK - 1}")
    return mounted


@pytest.fixture
def users_of(mount: Mount) -> Iterator[UsersOf]:
    """Start readers and writers of pages that are written back, and return when `at_once` of them, or all, wait."""
    del mount  # they end before their mount
    started: list[subprocess.Popen[str]] = []

    def start(mounted: Mounted, count: int, *, at_once: int | None = None) -> "subprocess.Popen[str]":
        arguments = [mounted.file, count, WRITTEN_BACK]
        users = subprocess.Popen([sys.executable, "-c", USE, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
        started.append(users)
        deadline = time.monotonic() + 30
        while int(mounted.show("stat").split()[8]) < (at_once or count):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return users

    yield start
    for users in started:
        users.kill()
        users.communicate()


def read_directly(mounted: Mounted, page: int) -> bytes:
    out = mmap.mmap(-1, 4096)
    fd = os.open(mounted.file, os.O_RDONLY | os.O_DIRECT)
    os.preadv(fd, [out], page * 4096)
    os.close(fd)
    return out[:]


@pytest.fixture
def data() -> bytes:
    return os.urandom(PAGES * 4096)


def test_nobody_else_waits_and_the_daemon_ends_while_the_backing_device_hangs(
    mount: Mount, users_of: UsersOf, data: bytes
) -> None:
    backing = mount(size="64M")
    mounted = mount_with_pages(mount, backing, data)
    with stopped(backing):
        users = users_of(mounted, USERS)
        began_s = time.monotonic()
        assert mounted.show("bd_stat").split()[0] == str(WRITTEN_BACK)
        assert read_directly(mounted, PAGES - 1) == data[-4096:]
        assert time.monotonic() - began_s < ANSWER_S
        os.kill(mounted.pid, signal.SIGTERM)
        mounted.wait_for_daemon_end(10)
        assert users.communicate(timeout=10)[0] == f"{{'Input/output error': {USERS}}}\n"


def test_nothing_is_lost_when_the_backing_device_goes_on(mount: Mount, users_of: UsersOf, data: bytes) -> None:
    backing = mount(size="64M")
    mounted = mount_with_pages(mount, backing, data)
    with stopped(backing):
        users = users_of(mounted, 100)
        writeback = subprocess.Popen(["sh", "-c", f"echo huge > {mounted.attribute('writeback')}"])
        assert answer(mounted, "reset", "1") == "EBUSY"
        assert answer(mounted, "mem_used_max", "0") == "ok(1)"
    assert users.communicate(timeout=30)[0] == "{'done': 100}\n"
    assert writeback.wait(30) == 0
    expected = bytearray(data)
    for page in range(1, 100, 2):
        expected[page * 4096 + 1] = ord("x")
    with mounted.file.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(file.fileno(), 2 * PAGES * 4096, 0)[: PAGES * 4096] == expected
    assert mounted.device()["io_stat"]["failed_reads"] == 0


def test_a_daemon_whose_mount_was_taken_away_ends_though_the_backing_device_hangs(
    mount: Mount, users_of: UsersOf, data: bytes
) -> None:
    backing = mount(size="64M")
    mounted = mount_with_pages(mount, backing, data)
    with stopped(backing):
        users = users_of(mounted, 10)
        subprocess.run(["umount", "-f", mounted.path], check=False, capture_output=True)
        assert "Input/output error" not in users.communicate(timeout=10)[0]
        os.kill(mounted.pid, signal.SIGTERM)
        mounted.wait_for_daemon_end(8)


@pytest.mark.parametrize("companion", [True, False])
def test_daemon_of_a_mount_that_was_taken_away_by_force_ends_though_the_device_hangs(
    mount: Mount, users_of: UsersOf, data: bytes, *, companion: bool
) -> None:
    backing = mount(size="16M")
    mounted = mount_with_pages(mount, backing, data, companion=companion)
    with stopped(backing):
        users = users_of(mounted, 50, at_once=50 if companion else 8)  # the kernel hands over 12 without it
        subprocess.run(["umount", "-f", mounted.path], check=False, capture_output=True)  # aborts, and says "busy"
        users.communicate(timeout=10)
        subprocess.run(["umount", "-l", mounted.path], check=False, capture_output=True)
        mounted.wait_for_daemon_end(10)
