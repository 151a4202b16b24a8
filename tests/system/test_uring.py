"""A mount over io_uring: each request by the queue of its caller's CPU, everything else as on any mount."""

import errno
import mmap
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from mounts import MIB, ZRAMFS, Mounted, is_mounted, kill_with_its_fusermount

Mount = Callable[..., Mounted]

TRANSPORT = "uring"
PAGE = 4096
SWITCH = Path("/sys/module/fuse/parameters/enable_uring")
PUNCH_KEEP = 3


@pytest.fixture(autouse=True)
def switched_on() -> None:
    if not SWITCH.exists():
        pytest.skip("this kernel has no FUSE over io_uring")
    if SWITCH.read_text().strip() != "Y":
        pytest.skip(f"{SWITCH} is off")


@pytest.fixture
def mounted(mount: Mount) -> Mounted:
    return mount("--transport", "uring", size="64M")


def transport(mounted: Mounted) -> dict[str, str]:
    lines = (mounted.path / "sys/fs/zramfs/transport").read_text().splitlines()
    return dict(line.split() for line in lines)


def on_cpu(cpu: int, work: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        os.sched_setaffinity(0, {cpu})
        work()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def pages_of(number: int, count: int) -> list[bytes]:
    source = random.Random(number)
    return [source.randbytes(1000).ljust(PAGE, bytes([number])) for _ in range(count)]


def test_requests_come_by_the_queue_of_their_callers_cpu(mounted: Mounted) -> None:
    before = transport(mounted)
    cpus = sorted(os.sched_getaffinity(0))

    def write() -> None:
        fd = os.open(mounted.file, os.O_WRONLY | os.O_SYNC)
        for page in range(100):
            os.pwrite(fd, bytes([page + 1]) * 100, page * PAGE)
        os.close(fd)

    for cpu in cpus:
        on_cpu(cpu, write).join()
    after = transport(mounted)
    assert after["transport"] == "uring"
    for cpu in cpus:
        assert int(after[f"requests_{cpu}"]) - int(before[f"requests_{cpu}"]) >= 100


def test_writers_on_every_cpu_read_what_they_wrote(mounted: Mounted) -> None:
    wrong: list[int] = []
    cpus = sorted(os.sched_getaffinity(0))

    def write_and_read(place: int) -> None:
        fd = os.open(mounted.file, os.O_RDWR)
        for turn in range(5):
            pages = pages_of(place * 10 + turn, 200)
            for number, page in enumerate(pages):
                os.pwrite(fd, page, (number * len(cpus) + place) * PAGE)
            os.fsync(fd)
            found = [os.pread(fd, PAGE, (number * len(cpus) + place) * PAGE) for number in range(200)]
            wrong.extend(number for number in range(200) if found[number] != pages[number])
        os.close(fd)

    threads = [on_cpu(cpu, lambda place=place: write_and_read(place)) for place, cpu in enumerate(cpus)]  # type: ignore[misc]
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("policy", ["auto", "percpu", "managed"])
@pytest.mark.parametrize("shape", ["--bs=4k --iodepth=32", "--bs=1m --iodepth=8", "--bsrange=512-300k --iodepth=16"])
def test_deep_queues_lose_nothing(mounted: Mounted, fio: Callable[..., None], policy: str, shape: str) -> None:
    mounted.attribute("stream_policy").write_text(policy)
    fio(mounted.file, "--rw=randwrite", "--size=48M", "--ioengine=libaio", "--direct=1", *shape.split())


def test_holes_are_punched_and_found(mounted: Mounted) -> None:
    fd = os.open(mounted.file, os.O_RDWR)
    os.pwrite(fd, b"x" * 4 * PAGE, 0)
    os.fsync(fd)
    subprocess.run(["fallocate", "-p", "-o", str(PAGE), "-l", str(PAGE), mounted.file], check=True)
    assert os.pread(fd, 4 * PAGE, 0) == b"x" * PAGE + bytes(PAGE) + b"x" * 2 * PAGE
    assert os.lseek(fd, 0, os.SEEK_HOLE) == PAGE
    assert os.lseek(fd, PAGE, os.SEEK_DATA) == 2 * PAGE
    os.close(fd)


def test_writes_that_wait_for_a_stream_leave_room_for_reads(mount: Mount, fio: Callable[..., None]) -> None:
    accelerator = "qpace,when_full=wait,queue_depth=16"
    mounted = mount("--transport", "uring", "--accel", accelerator, "--stream-policy", "managed", size="64M")
    fio(mounted.file, "--rw=randwrite", "--bs=64k", "--size=32M", "--ioengine=libaio", "--iodepth=600", "--direct=1")


def test_an_idle_mount_gives_memory_back_and_takes_no_time(mounted: Mounted) -> None:
    subprocess.run(["dd", "if=/dev/urandom", f"of={mounted.file}", "bs=1M", "count=48", "oflag=direct"], check=True)
    time.sleep(2.5)
    assert int(transport(mounted)["unused_buffer_bytes"]) < 2 * MIB
    before = cpu_ticks(mounted.pid)
    time.sleep(3)
    assert cpu_ticks(mounted.pid) - before <= 2  # of 10 ms; looking costs some


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Load:
    """fio on a mount, until it ends or fails."""

    def __init__(self, mounted: Mounted) -> None:
        command = "fio --name=load --thread --rw=randrw --bsrange=4k-1m --size=60M --direct=1 --ioengine=libaio"
        endless = "--iodepth=16 --numjobs=3 --time_based --runtime=60 --verify_state_save=0"
        self.fio = subprocess.Popen(
            [*command.split(), *endless.split(), f"--filename={mounted.file}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(1.5)
        assert self.fio.poll() is None

    def has_ended(self, within_s: float = 20) -> bool:
        try:
            self.fio.wait(within_s)
        except subprocess.TimeoutExpired:
            self.fio.kill()
            return False
        return True


def test_a_killed_daemon_hangs_nobody(mounted: Mounted) -> None:
    load = Load(mounted)
    kill_with_its_fusermount(mounted)
    assert load.has_ended()
    subprocess.run(["fusermount3", "-u", "-z", mounted.path], check=True)
    assert not is_mounted(mounted.path)
    assert list(mounted.path.iterdir()) == []


def test_a_killed_daemon_leaves_no_mount(mounted: Mounted) -> None:
    os.kill(mounted.pid, signal.SIGKILL)
    ends_at = time.monotonic() + 20
    while is_mounted(mounted.path) and time.monotonic() < ends_at:
        time.sleep(0.1)
    assert not is_mounted(mounted.path)


def test_a_signal_ends_a_mount_under_load(mounted: Mounted) -> None:
    load = Load(mounted)
    os.kill(mounted.pid, signal.SIGTERM)
    assert load.has_ended()
    mounted.wait_for_daemon_end(20)
    assert not is_mounted(mounted.path)


def test_a_device_is_reset_beside_another_ones_load(mount: Mount) -> None:
    mounted = mount("--transport", "uring", "--devices", "2", size="64M")
    load = Load(mounted)
    second = mounted.path / "zram1"
    for turn in range(5):
        subprocess.run(
            ["dd", f"of={second}", "bs=1M", "oflag=direct", "conv=notrunc", "status=none"],
            input=bytes([turn + 1]) * MIB,
            check=True,
        )
        mounted.attribute("reset", "zram1").write_text("1")
        mounted.attribute("disksize", "zram1").write_text("16M")
        read = ["dd", f"if={second}", "bs=1M", "count=1", "iflag=direct", "status=none"]
        assert subprocess.check_output(read) == bytes(MIB)
    load.fio.terminate()
    assert load.has_ended()


def test_switched_off_it_is_refused_with_the_way_to_switch_it_on(tmp_path: Path) -> None:
    """The switch looks switched off to this mount alone: others are being tested meanwhile."""
    off = tmp_path / "off"
    off.write_text("N\n")
    (tmp_path / "mnt").mkdir()
    hidden = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    mount = [ZRAMFS, "mount", tmp_path / "mnt", "--transport", "uring"]
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hidden, "sh", off, SWITCH, *mount],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert f"echo Y > {SWITCH}" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_whoever_uses_the_mount_meets_its_end_and_no_cancelled_request(mounted: Mounted) -> None:
    refusals: list[int | None] = []

    def read_to_the_end() -> None:
        fd = os.open(mounted.file, os.O_RDONLY | os.O_DIRECT)
        page = mmap.mmap(-1, PAGE)
        try:
            while True:
                os.preadv(fd, [page], 0)
        except OSError as error:
            refusals.append(error.errno)
        with suppress(OSError):
            os.close(fd)

    readers = [threading.Thread(target=read_to_the_end) for _ in range(32)]
    for reader in readers:
        reader.start()
    time.sleep(0.1)
    os.kill(mounted.pid, signal.SIGTERM)
    for reader in readers:
        reader.join(30)
    assert set(refusals) <= {errno.ECONNABORTED, errno.ENOTCONN}
    assert len(refusals) == len(readers)
    mounted.wait_for_daemon_end()
    assert not is_mounted(mounted.path)
