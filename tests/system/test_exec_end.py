"""The end of `zramfs exec`: nothing is left of its command, whoever is killed; and what it refuses meanwhile."""

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from exec_runs import begin, is_alive, loops_over, run_in, wait_until
from mounts import MIB, ZRAMFS, Mounted, zramfs

Mount = Callable[..., Mounted]

pytestmark = pytest.mark.usefixtures("loop_devices")

LEAVE_EVERYTHING = """
    set -e
    cat /sys/class/zram-control/hot_add
    echo 64M > /sys/block/zram1/disksize
    mkswap /dev/zram0 && swapon /dev/zram0
    mkfs.ext4 -q /dev/zram1 && mkdir -p "$DIR"/mnt && mount /dev/zram1 "$DIR"/mnt && echo kept > "$DIR"/mnt/file
    (cd "$DIR"/mnt; setsid sleep 1000 & echo $! > "$DIR"/orphan.pid)
    echo $$ > "$DIR"/command.pid
"""


def pids_in(folder: Path) -> dict[str, int]:
    return {file.name: int(file.read_text()) for file in folder.glob("*.pid") if file.read_text().strip()}


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Path]:
    """A folder for what a command leaves; processes that are still there at the end are ended."""
    folder = tmp_path / "left"
    folder.mkdir()
    yield folder
    for pid in pids_in(folder).values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_swap_that_the_command_leaves_gives_its_memory_back(mount: Mount) -> None:
    mounted = mount(size="64M")
    script = "mkswap /dev/zram0 && swapon /dev/zram0 && head -c 8M /dev/urandom | dd of=$FILE bs=1M seek=4 conv=notrunc"
    done = run_in(mounted, script, FILE=str(mounted.file))
    assert done.returncode == 0, done.stderr
    assert mounted.device()["mm_stat"]["orig_data_size"] == 4096


def assert_nothing_is_left(mounted: Mounted, left: Path) -> None:
    wait_until(lambda: loops_over(mounted) == "", "loop devices stay")  # and so would those that are used for swap
    assert not any(is_alive(pid) for pid in pids_in(left).values())
    assert not os.path.ismount(left / "mnt")
    wait_until(lambda: (mounted.path / "sys/fs/zramfs/keeper").read_text() == "0\n", "the link stays")
    assert (mounted.path / "sys/fs/zramfs/memory_locked").read_text() == "0\n"
    kept = run_in(mounted, "mount /dev/zram1 $DIR/mnt && cat $DIR/mnt/file", DIR=str(left))
    assert kept.stdout == "kept\n", kept.stderr
    assert zramfs("umount", mounted.path).returncode == 0


def test_nothing_is_left_of_a_command_but_what_it_stored(mount: Mount, left: Path) -> None:
    mounted = mount()
    done = run_in(mounted, LEAVE_EVERYTHING, DIR=str(left))
    assert done.returncode == 0, done.stderr
    assert loops_over(mounted) == ""
    assert_nothing_is_left(mounted, left)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("victim", ["front", "keeper", "command"])
def test_nothing_is_left_when_one_is_killed(mount: Mount, left: Path, victim: str) -> None:
    mounted = mount()
    front = subprocess.Popen(
        [ZRAMFS, "exec", mounted.path, "--", "bash", "-c", LEAVE_EVERYTHING + "exec sleep 1000"],
        env=os.environ | {"DIR": str(left)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(pids_in(left)) == 2, "the command does not get so far")
    command = pids_in(left)["command.pid"]
    os.kill({"front": front.pid, "keeper": parent_of(command), "command": command}[victim], signal.SIGKILL)
    exit_code = front.wait(timeout=30)
    assert exit_code == (-9 if victim == "front" else 137)
    assert_nothing_is_left(mounted, left)


def test_killed_daemon_leaves_no_loop_device_when_the_command_has_ended(mount: Mount) -> None:
    mounted = mount()
    command = begin(mounted, "echo ready; cat; dd if=/dev/zram0 of=/dev/null count=1")
    os.kill(mounted.pid, signal.SIGKILL)
    mounted.wait_for_daemon_end()
    command.communicate("", timeout=30)
    assert command.returncode == 1
    assert str(mounted.path) not in subprocess.check_output(["losetup", "--list"], text=True)
    mounted.wait_until_unmounted()


def test_exec_ends_with_its_command_though_the_daemon_hangs(mount: Mount) -> None:
    mounted = mount()
    try:
        done = run_in(mounted, f"echo 16M > /sys/block/zram0/disksize; kill -STOP {mounted.pid}; exit 3")
        assert done.returncode == 3, done.stderr
        assert "hangs: its loop devices are detached when it goes on" in done.stderr
    finally:
        os.kill(mounted.pid, signal.SIGCONT)
    wait_until(lambda: loops_over(mounted) == "", "loop devices stay")
    wait_until(lambda: (mounted.path / "sys/fs/zramfs/memory_locked").read_text() == "0\n", "the memory stays locked")
    assert run_in(mounted, "ls /dev/zram0").stdout == "/dev/zram0\n"


# ---- refusals ---------------------------------------------------------------------------------------------------


def test_one_exec_at_a_time_and_no_unmount_meanwhile(mount: Mount) -> None:
    mounted = mount()
    first = begin(mounted, "echo ready; cat; ls /dev/zram0")
    second = zramfs("exec", mounted.path, "true")
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    unmounted = zramfs("umount", mounted.path)
    assert unmounted.returncode == 1
    assert f"zramfs exec uses it (process {first.pid})" in unmounted.stderr
    assert first.communicate("", timeout=20)[0] == "/dev/zram0\n"
    assert zramfs("exec", mounted.path, "true").returncode == 0


def test_attached_device_is_refused(mount: Mount) -> None:
    mounted = mount()
    loop = zramfs("loop", "attach", mounted.path).stdout.strip()
    done = zramfs("exec", mounted.path, "true")
    assert done.returncode == 1
    assert f"is attached to {loop} already" in done.stderr
    assert loop in loops_over(mounted)


def test_verbs_in_the_namespace_do_not_attach_a_device_twice(mount: Mount) -> None:
    mounted = mount()
    done = run_in(mounted, f"{ZRAMFS} loop attach {mounted.path} || {ZRAMFS} swap on {mounted.path}")
    assert done.returncode == 1
    assert done.stderr.count("zramfs exec uses the devices") == 2
    assert loops_over(mounted) == ""


def test_loop_device_that_the_command_attached_to_a_block_file_is_detached(mount: Mount) -> None:
    mounted = mount()
    assert run_in(mounted, f"losetup --find {mounted.file}").returncode == 0
    assert loops_over(mounted) == ""
    assert zramfs("umount", mounted.path).returncode == 0


@pytest.mark.parametrize("arguments", [[], ["--"]])
def test_exec_without_a_command_is_bad_usage(mount: Mount, arguments: list[str]) -> None:
    done = zramfs("exec", mount().path, *arguments)
    assert done.returncode == 2
    assert "Missing argument 'COMMAND..." in done.stderr


def test_exec_says_that_nothing_is_mounted(tmp_path: Path) -> None:
    done = zramfs("exec", tmp_path, "true")
    assert (done.returncode, done.stderr) == (1, f"zramfs: no zramfs is mounted at {tmp_path}\n")


def test_reset_and_hot_remove_from_outside_are_refused_while_the_block_device_is_used(mount: Mount) -> None:
    mounted = mount(size="16M")
    script = "exec 5<>/dev/zram0; echo ready; read _; exec 5>&-; echo closed; read _; blockdev --getsize64 /dev/zram0"
    command = begin(mounted, script)
    assert command.stdout is not None
    assert command.stdin is not None
    for attribute in ("sys/block/zram0/reset", "sys/class/zram-control/hot_remove"):
        with pytest.raises(OSError, match="busy") as refused:
            (mounted.path / attribute).write_text("0" if "remove" in attribute else "1")
        assert refused.value.errno == errno.EBUSY
    print(file=command.stdin, flush=True)
    assert command.stdout.readline() == "closed\n"
    (mounted.path / "sys/block/zram0/reset").write_text("1")
    (mounted.path / "sys/block/zram0/disksize").write_text("32M")
    assert command.communicate("\n", timeout=20)[0] == f"{32 * MIB}\n"


def test_writes_to_a_device_in_exec_prefer_managed_streams(mount: Mount) -> None:
    mounted = mount(size="16M")
    done = run_in(mounted, "dd if=/dev/urandom of=/dev/zram0 bs=1M count=4 oflag=direct")
    assert done.returncode == 0, done.stderr
    assert mounted.streams()["managed_pages"] == 1024
