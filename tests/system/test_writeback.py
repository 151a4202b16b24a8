"""Writeback on real mounts: by a file, by a block device, under load, and with a backing device that fails."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mounts import MIB, Mounted, repeated
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


def mount_backed(
    mount: Mount, backing: object, *options: object, companion: bool = True, compressed: bool = False
) -> Mounted:
    mounted = mount(*options, size=None, companion=companion)
    assert answer(mounted, "compressed_writeback", f"{compressed:d}\n") == "ok(2)"
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


@pytest.fixture
def attach() -> Iterator[Callable[..., str]]:
    """Attach a file to a loop device; detached at the end, the last one first."""
    loops: list[str] = []

    def attach(*arguments: object) -> str:
        done = subprocess.run(
            ["losetup", "--find", "--show", *map(str, arguments)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no loop device: {done.stderr}")
        loops.append(done.stdout.strip())
        return loops[-1]

    yield attach
    for loop in reversed(loops):
        subprocess.run(["losetup", "-d", loop], check=False)


@pytest.fixture
def mount_at(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount with mount(8) at a folder of ours; unmounted at the end, the last one first."""
    points: list[Path] = []

    def mount_at(*arguments: object) -> Path:
        point = tmp_path / f"at{len(points)}"
        point.mkdir()
        subprocess.run(["mount", *map(str, arguments), point], check=True)
        points.append(point)
        return point

    yield mount_at
    for point in reversed(points):
        subprocess.run(["umount", point], check=False)


def refuse_own(mounted: Mounted, path: object, way: str) -> None:
    """Assert that `path` is refused, that the log says why, and that nobody waits for anybody."""
    assert answer(mounted, "backing_dev", str(path)) == "EINVAL"
    last = mounted.log.read_text().splitlines()[-1]
    assert f"backing_dev is refused: '{path}' lies on this mount: " in last
    assert last.endswith(way)
    assert mounted.show("backing_dev") == "none\n"


def test_a_file_of_the_same_mount_is_refused(mount: Mount, mount_at: Callable[..., Path], tmp_path: Path) -> None:
    mounted = mount("--devices", "2", size=None)
    mounted.attribute("disksize", "zram1").write_text("64M")
    (tmp_path / "link").symlink_to(mounted.path / "zram1")
    for path in (mounted.path / "zram1", mounted.path / "zram0", mounted.path / "sys/../zram1", tmp_path / "link"):
        refuse_own(mounted, path, f": {mounted.path}")
    refuse_own(mounted, mounted.path / "no/such/file", f": {mounted.path}")
    bound = mount_at("--bind", mounted.path)
    refuse_own(mounted, bound / "zram1", f": {bound}")


def test_what_lies_on_a_loop_device_over_the_same_mount_is_refused(
    mount: Mount, attach: Callable[..., str], mount_at: Callable[..., Path]
) -> None:
    mounted = mount("--devices", "2", size=None)
    mounted.attribute("disksize", "zram1").write_text("256M")
    loop = attach("--direct-io=on", "--sector-size=4096", mounted.path / "zram1")
    refuse_own(mounted, loop, f"{Path(loop).name} over {mounted.path}")
    subprocess.run(["mkfs.ext4", "-q", loop], check=True)
    on_ext4 = mount_at(loop)
    with (on_ext4 / "disk").open("wb") as file:
        file.truncate(64 * MIB)
    refuse_own(mounted, on_ext4 / "disk", f"{on_ext4} over {Path(loop).name} over {mounted.path}")
    inner = attach(on_ext4 / "disk")
    refuse_own(mounted, inner, f"{Path(inner).name} over {on_ext4} over {Path(loop).name} over {mounted.path}")


def test_a_loop_device_over_a_mount_that_has_lost_its_name_is_refused(
    mount: Mount, attach: Callable[..., str], mount_at: Callable[..., Path]
) -> None:
    mounted = mount("--devices", "2", size=None)
    mounted.attribute("disksize", "zram1").write_text("64M")
    bound = mount_at("--bind", mounted.path)
    loop = attach(bound / "zram1")
    subprocess.run(["umount", "--lazy", bound], check=True)
    refuse_own(mounted, loop, f"{Path(loop).name} over a file of this mount")


def test_two_mounts_do_not_back_each_other(mount: Mount) -> None:
    one, other = mount("--devices", "2", size=None), mount("--devices", "2", size=None)
    for mounted in (one, other):
        mounted.attribute("disksize", "zram1").write_text("64M")
    assert answer(one, "backing_dev", str(other.path / "zram1")).startswith("ok")
    refuse_own(other, one.path / "zram1", f"{one.path} over {other.path / 'zram1'} over {other.path}")


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


@pytest.mark.parametrize(("bs", "size"), [("4k", "48M"), ("1k", "16M"), ("128k", "48M")])
@pytest.mark.parametrize("compressed", [False, True])
def test_writeback_under_load_loses_nothing(
    mount: Mount, backing_file: Path, fio: Callable[..., None], bs: str, size: str, *, compressed: bool
) -> None:
    mounted = mount_backed(mount, backing_file, compressed=compressed)
    answers: list[str] = []

    def write_back() -> None:
        answers.append(answer(mounted, "idle", "all"))
        answers.append(answer(mounted, "writeback", "huge" if len(answers) % 3 else "idle"))

    with repeated(write_back):
        fio(
            mounted.file, f"--size={size}", "--rw=randrw", f"--bs={bs}", "--direct=1", "--ioengine=libaio",
            "--iodepth=32", "--verify_backlog=512", "--buffer_compress_percentage=40",
        )  # fmt: skip
    assert {text[:2] for text in answers} == {"ok"}
    assert bd_stat(mounted)[2] > 0
    assert mounted.device()["io_stat"]["failed_reads"] == 0


def begun_writeback(mounted: Mounted, *, megabytes: int) -> tuple[threading.Thread, list[str]]:
    """Fill the disk, and have all of it written back, page by page; it is under way, and its answer is yet to come."""
    with mounted.file.open("r+b", buffering=0) as file:
        for megabyte in range(megabytes):
            os.pwrite(file.fileno(), os.urandom(MIB), megabyte * MIB)
        os.fsync(file.fileno())
    mounted.attribute("writeback_batch_size").write_text("1")
    answers: list[str] = []
    writer = threading.Thread(target=lambda: answers.append(answer(mounted, "writeback", "huge")))
    writer.start()
    while bd_stat(mounted)[2] == 0:
        pass
    return writer, answers


def test_the_daemon_ends_by_sigterm_while_it_writes_back(mount: Mount, backing_file: Path) -> None:
    mounted = mount_backed(mount, backing_file)
    writer, answers = begun_writeback(mounted, megabytes=128)
    os.kill(mounted.pid, signal.SIGTERM)
    writer.join()
    mounted.wait_until_unmounted()
    mounted.wait_for_daemon_end()
    assert answers == ["ECANCELED"]


def test_the_daemon_killed_while_it_writes_back_leaves_no_mount(mount: Mount, backing_file: Path) -> None:
    mounted = mount_backed(mount, backing_file)
    writer, answers = begun_writeback(mounted, megabytes=64)
    os.kill(mounted.pid, signal.SIGKILL)
    writer.join()
    mounted.wait_until_unmounted()
    assert answers in (["ECONNABORTED"], ["ENOTCONN"])
