"""Writers that wait for an accelerator, hundreds of them: nothing else waits, and what they hold has a limit."""

import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from mounts import MIB, Mounted
from namespaces import mount_namespace

Mount = Callable[..., Mounted]

DEAD_DEVICE = "ideal,timeout_us=20000000,polled_run_pages=0,when_full=wait,queue_depth=4096"
HANGS_S = 5.0

WRITERS = """
import mmap, os, sys, threading
file, count, size, sync = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), bool(int(sys.argv[4]))
threading.stack_size(1 << 16)
fd = os.open(file, os.O_RDWR | os.O_DIRECT | (os.O_DSYNC if sync else 0))
data = mmap.mmap(-1, size)
data[:] = bytes(range(256)) * (size // 256)
threads = [threading.Thread(target=os.pwritev, args=(fd, [data], n * size)) for n in range(count)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def waiting(mounted: Mounted, count: int, size_bytes: int, *, sync: bool) -> "subprocess.Popen[bytes]":
    mounted.attribute("accel/fault_timeout").write_text("1/1")
    arguments = [mounted.file, count, size_bytes, int(sync)]
    return subprocess.Popen([sys.executable, "-c", WRITERS, *map(str, arguments)])


def in_flight(mounted: Mounted) -> int:
    return int(mounted.show("stat").split()[8])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def assert_page_0_is_answered(mounted: Mounted) -> None:
    fd = os.open(mounted.file, os.O_RDONLY | os.O_DIRECT)
    os.preadv(fd, [mmap.mmap(-1, 4096)], 0)
    os.close(fd)


@pytest.mark.parametrize("ending", ["offline", "SIGTERM"])
def test_writers_that_wait_keep_nobody_else_waiting_and_lose_nothing(mount: Mount, ending: str) -> None:
    mounted = mount("--accel", DEAD_DEVICE.replace("4096", "64"), "--stream-policy", "managed")
    writers = waiting(mounted, 400, 4096, sync=True)
    wait_until(lambda: in_flight(mounted) == 400)
    began_s = time.monotonic()
    mounted.attribute("mem_limit").write_text("0")
    assert_page_0_is_answered(mounted)
    if ending == "offline":
        mounted.attribute("accel/state").write_text("offline")
    else:
        os.kill(mounted.pid, signal.SIGTERM)
    assert writers.wait(HANGS_S) == 0
    assert time.monotonic() - began_s < HANGS_S
    if ending == "offline":
        assert mounted.device()["mm_stat"]["orig_data_size"] == 400 * 4096
    else:
        mounted.wait_for_daemon_end(10)


@pytest.mark.parametrize(("at_the_mount", "kept"), [(True, 1000), (False, 256 - 16)])
def test_asynchronous_writers_that_wait_leave_buffered_reads_room(
    mount: Mount,
    *,
    at_the_mount: bool,
    kept: int,
) -> None:
    if shutil.which("fio") is None:
        pytest.skip("fio is not installed")
    device = DEAD_DEVICE.replace("4096", "256")
    mounted = mount("--accel", device if at_the_mount else device.replace("wait", "fallback"))
    mounted.attribute("accel/when_full").write_text("wait")
    mounted.attribute("accel/fault_timeout").write_text("1/1")
    writers = subprocess.Popen(
        [
            *("fio", "--name=wait", f"--filename={mounted.file}", "--rw=write", "--bs=4k", "--size=8M"),
            *("--ioengine=libaio", "--iodepth=1000", "--direct=1", "--allow_file_create=0"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: in_flight(mounted) == kept)
        with mounted.file.open("rb") as file:
            file.seek(200 * MIB)
            assert file.read(4096) == bytes(4096)
    finally:
        mounted.attribute("accel/state").write_text("offline")
        assert writers.wait(60) == 0


def test_memory_of_waiting_writes_has_a_limit(mount: Mount) -> None:
    mounted = mount("--accel", DEAD_DEVICE, size="512M")
    writers = waiting(mounted, 500, MIB, sync=False)
    limit_bytes = mounted.status()["daemon"]["request_limit_bytes"]
    wait_until(lambda: 0 < in_flight(mounted) < 350 and mounted.streams()["fallback_pages"] > 100 * 256)
    wait_until(lambda: mounted.device()["mm_stat"]["orig_data_size"] + in_flight(mounted) * MIB >= 500 * MIB)
    daemon = mounted.status()["daemon"]
    assert limit_bytes - 2 * MIB < daemon["request_bytes"] <= limit_bytes
    assert daemon["rss_bytes"] < limit_bytes + 200 * MIB
    mounted.attribute("accel/state").write_text("offline")
    assert writers.wait(60) == 0
    assert mounted.status()["daemon"]["request_bytes"] == 0
    assert mounted.device()["mm_stat"]["orig_data_size"] == 500 * MIB


def test_signal_ends_a_mount_of_which_another_namespace_has_a_copy(mount: Mount) -> None:
    mounted = mount()
    with mount_namespace():
        os.kill(mounted.pid, signal.SIGTERM)
        mounted.wait_for_daemon_end(10)
    assert "Timeout" not in mounted.log.read_text()
