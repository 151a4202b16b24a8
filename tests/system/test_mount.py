import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from mounts import ZRAMFS, Mounted, is_mounted, kill_with_its_fusermount, prepared, zramfs

Mount = Callable[..., Mounted]


def test_mount_answers_io_when_it_returns(mount: Mount) -> None:
    mounted = mount()
    fd = os.open(mounted.file, os.O_RDWR)
    os.pwrite(fd, b"at once", 0)
    assert os.pread(fd, 7, 0) == b"at once"
    os.close(fd)


def test_mount_lets_go_of_its_callers_pipe(tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    script = f'exec 9>&1; out=$({ZRAMFS} mount {path} --size 16M --log-file {tmp_path}/log); echo "[$out]"'
    try:
        done = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, timeout=30, check=True)
        assert done.stdout == b"[]\n"
        assert is_mounted(path)
    finally:
        assert zramfs("umount", path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["{tmp}/missing"], 1, "does not exist"),
        (["{tmp}/full"], 1, "not empty"),
        (["{tmp}/file"], 1, "not a directory"),
        (["{tmp}/empty", "--size", "1X"], 2, "'1X' is not a size"),
        (["{tmp}/empty", "--size", "0"], 2, "0 is no size"),
        (["{tmp}/empty", "--size", "2E"], 1, "zram0: there is no address space"),
        (["{tmp}/empty", "--algorithm", "nope"], 2, "no algorithm 'nope'"),
        (["{tmp}/empty", "--accel", "nope"], 2, "no accelerator profile 'nope'"),
        (["{tmp}/empty", "--accel", "ideal,queue_depth=0"], 2, "queue_depth: it must be 1 to"),
        (["{tmp}/empty", "--accel", "ideal,queue_depth"], 2, "not key=value"),
        (["{tmp}/empty", "--stream-policy", "nope"], 2, "'nope' is not one of"),
        (["{tmp}/empty", "--devices", "0"], 2, "0 is not in the range"),
        (["{tmp}/empty", "--log-file", "{tmp}/missing/log"], 1, "cannot log to"),
        (["{tmp}/empty", "--nope"], 2, "No such option --nope"),
        ([], 2, "Missing argument"),
    ],
)
def test_mount_refuses_bad_input_in_one_line(tmp_path: Path, arguments: list[str], exit_code: int, says: str) -> None:
    (tmp_path / "full" / "x").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    result = prepared("mount", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert result.returncode == exit_code
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not is_mounted(tmp_path / "empty")


def test_mount_says_what_is_missing_without_fusermount3(tmp_path: Path) -> None:
    result = subprocess.run(
        [ZRAMFS, "mount", tmp_path], env={"PATH": "/nonexistent"}, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (
        1,
        "zramfs: fusermount3 is missing: install the package fuse3\n",
    )


def test_mount_says_what_is_missing_without_dev_fuse(tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    script = f"mount -t tmpfs none /dev && exec {ZRAMFS} mount {tmp_path}/mnt --log-file {tmp_path}/log"
    result = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "/dev/fuse is missing" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a capability to lose")
def test_mount_says_what_a_container_lacks(tmp_path: Path) -> None:
    command = ["setpriv", "--bounding-set=-sys_admin", ZRAMFS, "mount", tmp_path, "--log-file", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    says = "fusermount3: mount failed: Operation not permitted: that needs CAP_SYS_ADMIN"
    assert done.returncode == 1
    assert done.stderr == f"zramfs: cannot mount at {tmp_path}: {says} (a container: --cap-add SYS_ADMIN)\n"


def test_mount_says_when_it_has_no_permission() -> None:
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "HOME=/nonexistent"]
    if subprocess.run([*as_nobody, ZRAMFS, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("an unprivileged user cannot run the zramfs under test, where it is installed")
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        Path(path).chmod(0o755)
        command = [*as_nobody, ZRAMFS, "mount", path, "--log-file=/dev/null"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "permission" in result.stderr
    assert result.stderr.count("\n") == 1


def test_mount_refuses_a_second_mount_at_the_same_place(mount: Mount) -> None:
    mounted = mount()
    result = zramfs("mount", mounted.path)
    assert result.returncode == 1
    assert "mounted at" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_unmounts_and_ends_the_daemon(mount: Mount, number: int) -> None:
    mounted = mount()
    os.kill(mounted.pid, number)
    mounted.wait_for_daemon_end()
    assert not is_mounted(mounted.path)
    assert mounted.path.exists()


def test_signal_ends_a_busy_mount_too(mount: Mount) -> None:
    mounted = mount()
    fd = os.open(mounted.file, os.O_RDWR)
    os.pwrite(fd, b"x" * 4096, 0)
    os.kill(mounted.pid, signal.SIGTERM)
    mounted.wait_for_daemon_end()
    with suppress(OSError):  # its file is gone
        os.close(fd)
    assert not is_mounted(mounted.path)


def test_foreground_stays_and_ends_with_sigint(tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    daemon = subprocess.Popen(
        [ZRAMFS, "mount", path, "--size", "16M", "--foreground"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 20
    while not (path / "zram0").exists():
        assert time.monotonic() < deadline
        assert daemon.poll() is None
        time.sleep(0.02)
    daemon.send_signal(signal.SIGINT)
    _, said = daemon.communicate(timeout=20)
    assert daemon.returncode == 0
    assert "SIGINT: unmounting" in said
    assert not is_mounted(path)


def test_killed_daemon_leaves_no_dead_mount(mount: Mount) -> None:
    mounted = mount()
    os.kill(mounted.pid, signal.SIGKILL)
    mounted.wait_until_unmounted()
    assert list(mounted.path.iterdir()) == []


def test_dead_mount_is_recognised_and_cleaned_up_by_the_next_mount(mount: Mount, tmp_path: Path) -> None:
    mounted = mount()
    kill_with_its_fusermount(mounted)
    assert is_mounted(mounted.path)
    result = zramfs("status", mounted.path)
    assert result.returncode == 1
    assert result.stderr.endswith(f"is dead: its daemon ended; clean up with: zramfs umount {mounted.path}\n")
    assert zramfs("mount", mounted.path, "--size", "16M", "--log-file", tmp_path / "log2").returncode == 0
    assert (mounted.path / "zram0").stat().st_size == 16 << 20
    assert zramfs("umount", mounted.path).returncode == 0


def test_umount_refuses_a_busy_mount_and_loses_nothing(mount: Mount) -> None:
    mounted = mount()
    fd = os.open(mounted.file, os.O_RDWR)
    os.pwrite(fd, b"kept", 0)
    result = zramfs("umount", mounted.path)
    assert result.returncode == 1
    assert "is busy" in result.stderr
    assert os.pread(fd, 4, 0) == b"kept"
    os.close(fd)
    assert zramfs("umount", mounted.path).returncode == 0


def test_umount_succeeds_between_two_who_read_statistics(mount: Mount) -> None:
    mounted = mount()
    has_gone = threading.Event()

    def read_on_and_on() -> None:
        while not has_gone.wait(0.02):
            with suppress(OSError), (mounted.path / "sys/fs/zramfs/report").open() as report:
                report.read()
                time.sleep(0.005)

    reader = threading.Thread(target=read_on_and_on)
    reader.start()
    try:
        assert zramfs("umount", mounted.path).returncode == 0
    finally:
        has_gone.set()
        reader.join()


@pytest.mark.parametrize("verb", [["umount"], ["status"], ["loop", "attach"], ["loop", "detach"], ["swap", "on"]])
def test_verbs_say_that_nothing_is_mounted(tmp_path: Path, verb: list[str]) -> None:
    result = zramfs(*verb, tmp_path)
    assert (result.returncode, result.stderr) == (1, f"zramfs: no zramfs is mounted at {tmp_path}\n")


def test_terabyte_device_mounts_with_little_memory(mount: Mount) -> None:
    mounted = mount(size="1T")
    assert mounted.file.stat().st_size == 1 << 40
    fd = os.open(mounted.file, os.O_RDWR)
    os.pwrite(fd, b"far", (1 << 40) - 3)
    assert os.pread(fd, 10, (1 << 40) - 3) == b"far"
    os.close(fd)
    assert mounted.status()["daemon"]["rss_bytes"] < 100 << 20


@pytest.mark.parametrize(("size", "count"), [("1T", 64), ("16T", 1)])
def test_tebibytes_mount_at_once_within_64_mib(mount: Mount, size: str, count: int) -> None:
    began_s = time.monotonic()
    mounted = mount("--devices", count, size=size)
    assert time.monotonic() - began_s < 5  # 0.5 s on an idle machine
    assert len(list(mounted.path.glob("zram*"))) == count
    assert int((mounted.path / "sys/fs/zramfs/rss_bytes").read_text()) < 64 << 20


def test_devices_are_apart(mount: Mount) -> None:
    mounted = mount("--devices", 2)
    (mounted.path / "zram1").write_bytes(b"second")
    assert (mounted.path / "zram0").read_bytes()[:6] == bytes(6)
    assert [device["name"] for device in mounted.status()["devices"]] == ["zram0", "zram1"]


def test_signal_in_mid_flight_answers_what_has_arrived(mount: Mount) -> None:
    mounted = mount("--accel", "poc")
    writer = subprocess.Popen(
        [
            *("fio", "--name=w", f"--filename={mounted.file}", "--rw=randwrite", "--bs=256k", "--direct=1"),
            *("--size=64M", "--ioengine=libaio", "--iodepth=16", "--time_based", "--runtime=30"),
            "--allow_file_create=0",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not mounted.device()["mm_stat"]["orig_data_size"]:
        time.sleep(0.05)
    os.kill(mounted.pid, signal.SIGTERM)
    mounted.wait_for_daemon_end()
    assert writer.wait(timeout=30) != 0  # its file is gone
    assert not is_mounted(mounted.path)
    assert "pages in flight" not in mounted.log.read_text()


@pytest.mark.parametrize("closed", ["<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_mount_works_with_standard_streams_closed(tmp_path: Path, closed: str) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    script = f"{ZRAMFS} mount {path} --size 16M --log-file {tmp_path}/log {closed}"
    assert subprocess.run(["bash", "-c", script], timeout=30, check=False).returncode == 0
    (path / "zram0").write_bytes(b"x")
    assert "mounts" in (tmp_path / "log").read_text()
    assert zramfs("umount", path).returncode == 0


@pytest.mark.parametrize("name", ["a b", "жук", "with'quote"])
def test_any_name_can_be_a_mount_point(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir()
    assert zramfs("mount", path, "--size", "16M", "--log-file", tmp_path / "log").returncode == 0
    assert zramfs("status", path).returncode == 0
    assert zramfs("umount", path).returncode == 0


def test_verbs_follow_a_link_to_the_mount_point(mount: Mount, tmp_path: Path) -> None:
    mounted = mount()
    link = tmp_path / "link"
    link.symlink_to(mounted.path)
    assert zramfs("status", link).returncode == 0
    assert zramfs("umount", link).returncode == 0
    assert not is_mounted(mounted.path)


def test_signal_leaves_another_mount_at_the_same_place_alone(mount: Mount, tmp_path: Path) -> None:
    first = mount()
    fd = os.open(first.file, os.O_RDWR)
    subprocess.run(["umount", "--lazy", first.path], check=True)
    assert zramfs("mount", first.path, "--size", "16M", "--log-file", tmp_path / "log2").returncode == 0
    (first.path / "zram0").write_bytes(b"of the second")
    os.kill(first.pid, signal.SIGTERM)
    first.wait_for_daemon_end()
    with suppress(OSError):
        os.close(fd)
    assert (first.path / "zram0").read_bytes()[:13] == b"of the second"
    assert zramfs("umount", first.path).returncode == 0


def test_idle_mount_costs_no_cpu_time(mount: Mount) -> None:
    mounted = mount()
    mounted.file.write_bytes(os.urandom(4 << 20))
    time.sleep(0.5)
    before = _cpu_ticks(mounted.pid)
    time.sleep(3)
    assert _cpu_ticks(mounted.pid) - before <= 1


def _cpu_ticks(pid: int) -> int:
    """User and system time of a process, in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
