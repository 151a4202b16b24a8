"""Writeback on real mounts: by a file, by a block device, under load, and with a backing device that fails."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mounts import MIB, Mounted
from test_attributes import answer

Mount = Callable[..., Mounted]


@pytest.fixture
def backing_file(tmp_path: Path) -> Path:
    path = tmp_path / "backing"
    with path.open("wb") as file:
        file.truncate(256 * MIB)
    return path


@pytest.fixture
def backing_loop(backing_file: Path) -> Iterator[str]:
    attached = subprocess.run(
        ["losetup", "--find", "--show", backing_file], capture_output=True, text=True, check=False
    )
    if attached.returncode:
        pytest.skip(f"no loop device: {attached.stderr}")
    yield attached.stdout.strip()
    subprocess.run(["losetup", "-d", attached.stdout.strip()], check=False)


def mount_backed(mount: Mount, backing: object, *options: object, companion: bool = True) -> Mounted:
    mounted = mount(*options, size=None, companion=companion)
    assert answer(mounted, "backing_dev", f"{backing}\n").startswith("ok")
    assert answer(mounted, "disksize", "256M") == "ok(4)"
    return mounted


def write_all_back(mounted: Mounted) -> None:
    assert answer(mounted, "idle", "all") == "ok(3)"
    assert answer(mounted, "writeback", "idle") == "ok(4)"


def bd_stat(mounted: Mounted) -> tuple[int, ...]:
    return tuple(map(int, mounted.show("bd_stat").split()))


@pytest.mark.parametrize("companion", [True, False], ids=["companion", "alone"])
def test_what_is_written_back_reads_back(mount: Mount, backing_file: Path, companion: bool) -> None:  # noqa: FBT001
    mounted = mount_backed(mount, backing_file, companion=companion)
    assert mounted.show("backing_dev") == f"{backing_file}\n"
    data = os.urandom(MIB) + b"zram " * (MIB // 5)
    with mounted.file.open("r+b", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())
    write_all_back(mounted)
    assert bd_stat(mounted)[0] == mounted.device()["mm_stat"]["orig_data_size"] // 4096
    assert mounted.device()["mm_stat"]["mem_used_total"] == 0
    fd = os.open(mounted.file, os.O_RDWR)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.pread(fd, len(data), 0) == data
    assert os.pwrite(fd, b"patch", 5000) == 5
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.pread(fd, 10000, 0) == data[:5000] + b"patch" + data[5005:10000]
    os.close(fd)
    assert bd_stat(mounted)[1] > 0


def test_a_block_device_backs_a_device_and_is_let_go_by_reset(mount: Mount, backing_loop: str) -> None:
    mounted = mount_backed(mount, backing_loop)
    assert mounted.show("backing_dev") == f"{backing_loop}\n"
    data = os.urandom(MIB)
    fd = os.open(mounted.file, os.O_RDWR)
    os.pwrite(fd, data, 0)
    os.fsync(fd)
    write_all_back(mounted)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.pread(fd, MIB, 0) == data
    os.close(fd)
    with pytest.raises(OSError, match="busy"):
        os.open(backing_loop, os.O_RDWR | os.O_EXCL)
    assert answer(mounted, "reset", "1") == "ok(1)"
    os.close(os.open(backing_loop, os.O_RDWR | os.O_EXCL))
    assert mounted.show("backing_dev") == "none\n"


def test_a_block_device_that_is_in_use_is_refused(mount: Mount, backing_loop: str) -> None:
    claimed = os.open(backing_loop, os.O_RDWR | os.O_EXCL)
    assert answer(mount(size=None), "backing_dev", backing_loop) == "EBUSY"
    os.close(claimed)


def test_a_device_cannot_back_itself(mount: Mount) -> None:
    mounted = mount(size=None)
    assert answer(mounted, "backing_dev", str(mounted.file)) == "EINVAL"
    assert answer(mounted, "disksize", "16M") == "ok(3)"


def test_a_device_of_the_same_mount_can_back_another(mount: Mount) -> None:
    mounted = mount("--devices", "2", size=None)
    mounted.attribute("disksize", "zram1").write_text("64M")
    mounted.attribute("backing_dev").write_text(str(mounted.path / "zram1"))
    mounted.attribute("disksize").write_text("64M")
    data = os.urandom(4 * MIB)
    with mounted.file.open("r+b", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())
        write_all_back(mounted)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(file.fileno(), len(data), 0) == data
    assert mounted.device(1)["mm_stat"]["orig_data_size"] == 4 * MIB
    assert answer(mounted, "reset", "1") == "ok(1)"


def test_errors_of_the_backing_device_cost_their_pages_alone(mount: Mount, backing_file: Path) -> None:
    mounted = mount_backed(mount, backing_file)
    data = os.urandom(64 * 4096)
    fd = os.open(mounted.file, os.O_RDWR)
    os.pwrite(fd, data, 0)
    os.fsync(fd)
    write_all_back(mounted)
    os.truncate(backing_file, 32 * 4096)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    for page in range(64):
        if page < 32:
            assert os.pread(fd, 4096, page * 4096) == data[page * 4096 : (page + 1) * 4096]
        else:
            with pytest.raises(OSError, match="Input/output error"):
                os.pread(fd, 4096, page * 4096)
    assert os.pwrite(fd, data[:4096], 40 * 4096) == 4096
    os.fsync(fd)
    os.close(fd)


@pytest.mark.parametrize("bs", ["4k", "1k", "128k"])
def test_writeback_under_load_loses_nothing(
    mount: Mount, backing_file: Path, fio: Callable[..., None], bs: str
) -> None:
    mounted = mount_backed(mount, backing_file)
    stop = threading.Event()
    answers: list[str] = []

    def keep_writing_back() -> None:
        while not stop.is_set():
            answers.append(answer(mounted, "idle", "all"))
            answers.append(answer(mounted, "writeback", "huge" if len(answers) % 3 else "idle"))

    thread = threading.Thread(target=keep_writing_back)
    thread.start()
    try:
        fio(
            mounted.file, "--size=48M", "--rw=randrw", f"--bs={bs}", "--direct=1", "--ioengine=libaio", "--iodepth=32",
            "--verify_backlog=512", "--buffer_compress_percentage=40",
        )  # fmt: skip
    finally:
        stop.set()
        thread.join()
    assert {text[:2] for text in answers} == {"ok"}
    assert bd_stat(mounted)[2] > 0
    assert mounted.device()["io_stat"]["failed_reads"] == 0


def test_the_daemon_ends_by_sigterm_while_it_writes_back(mount: Mount, backing_file: Path) -> None:
    mounted = mount_backed(mount, backing_file)
    with mounted.file.open("r+b", buffering=0) as file:
        for megabyte in range(128):
            os.pwrite(file.fileno(), os.urandom(MIB), megabyte * MIB)
        os.fsync(file.fileno())
    mounted.attribute("writeback_batch_size").write_text("1")
    answers: list[str] = []
    writer = threading.Thread(target=lambda: answers.append(answer(mounted, "writeback", "huge")))
    writer.start()
    while bd_stat(mounted)[2] == 0:
        pass
    os.kill(mounted.pid, signal.SIGTERM)
    writer.join()
    mounted.wait_until_unmounted()
    mounted.wait_for_daemon_end()
    assert answers == ["ECANCELED"]


def test_the_daemon_killed_while_it_writes_back_leaves_no_mount(mount: Mount, backing_file: Path) -> None:
    mounted = mount_backed(mount, backing_file)
    with mounted.file.open("r+b", buffering=0) as file:
        for megabyte in range(64):
            os.pwrite(file.fileno(), os.urandom(MIB), megabyte * MIB)
        os.fsync(file.fileno())
    mounted.attribute("writeback_batch_size").write_text("1")
    answers: list[str] = []
    writer = threading.Thread(target=lambda: answers.append(answer(mounted, "writeback", "huge")))
    writer.start()
    while bd_stat(mounted)[2] == 0:
        pass
    os.kill(mounted.pid, signal.SIGKILL)
    writer.join()
    mounted.wait_until_unmounted()
    assert answers in (["ECONNABORTED"], ["ENOTCONN"])
