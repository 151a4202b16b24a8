"""Everything at once: hot-plug, attributes of all devices, look-ups, writers of a dead device, and a signal.

ZRAMFS_TEST_SECONDS says for how long (10 unless told otherwise; `make test-long` has it run for 900), ZRAMFS_TEST_SEED
with which seed to begin.
"""

import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from mounts import Mounted, is_mounted, zramfs

TEST_SECONDS = float(os.environ.get("ZRAMFS_TEST_SECONDS", "10"))
FIRST_SEED = int(os.environ.get("ZRAMFS_TEST_SEED", "1"))

DEAD_DEVICE = "ideal,timeout_us=20000000,polled_run_pages=0,when_full=wait"
HANGS_S = 5.0
"""A request that takes so long hangs; they are to be answered within 0.2 s, on a machine with nothing else to do."""
ENDS_S = 10.0

Mount = Callable[..., Mounted]


@contextmanager
def hostile_load(mounted: Mounted, seed: int) -> Iterator["subprocess.Popen[str]"]:
    program = Path(__file__).with_name("hostile_load.py")
    with subprocess.Popen(
        [sys.executable, program, mounted.path, str(seed)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def answer_s(request: Callable[[], object]) -> float:
    began_s = time.monotonic()
    request()
    return time.monotonic() - began_s


def slowest_answer_s(mounted: Mounted, for_s: float) -> float:
    """Ask for attributes, names and a page, again and again; the longest that one of them took."""
    page = mmap.mmap(-1, 4096)
    slowest_s = 0.0
    fd = os.open(mounted.path / "zram2", os.O_RDONLY | os.O_DIRECT)
    try:
        ends_s = time.monotonic() + for_s
        while time.monotonic() < ends_s:
            for request in (
                lambda: mounted.show("mm_stat"),
                lambda: mounted.attribute("mem_limit", "zram2").write_text("0"),
                (mounted.path / "nobody").exists,
                lambda: os.preadv(fd, [page], 0),
            ):
                slowest_s = max(slowest_s, answer_s(request))
    finally:
        os.close(fd)
    return slowest_s


def test_hostile_load_stops_nobody_and_a_signal_ends_it(mount: Mount) -> None:
    ends_s = time.monotonic() + TEST_SECONDS
    for seed in count(FIRST_SEED):
        if time.monotonic() > ends_s:
            return
        choice = random.Random(seed)
        mounted = mount("--devices", 8, "--accel", DEAD_DEVICE, "--stream-policy", "managed", size="64M")
        mounted.attribute("accel/fault_timeout").write_text("1/1")
        with hostile_load(mounted, seed) as load:
            assert load.stdout is not None
            assert load.stdout.readline() == "ready\n"
            assert slowest_answer_s(mounted, 1 + 3 * choice.random()) < HANGS_S, f"seed {seed}"
            os.kill(mounted.pid, choice.choice((signal.SIGTERM, signal.SIGINT)))
            mounted.wait_for_daemon_end(ENDS_S)
            said, _ = load.communicate(timeout=HANGS_S)
            assert (said, load.returncode) == ("", 0), f"seed {seed}"
        mounted.wait_until_unmounted(HANGS_S)
        assert zramfs("umount", mounted.path).returncode == 1
        assert not is_mounted(mounted.path)
