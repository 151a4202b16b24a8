"""`zramfs exec`: commands that know nothing of zramfs, beside the kernel's zram, and what is left of them."""

import errno
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from exec_runs import is_alive, run_in, wait_until
from mounts import MIB, ZRAMFS, Mounted, zramfs
from zram_disks import numbers_of_the_kernel

Mount = Callable[..., Mounted]

KERNEL_CONTROL = Path("/sys/class/zram-control")

SESSION = """
set -e
exec 2>&1
DEV=/dev/zram$N
SYS=/sys/block/zram$N
zramctl --size 256M --algorithm lz4 $DEV
zramctl $DEV
cat $SYS/disksize $SYS/initstate $SYS/size
blockdev --getsize64 --getss --getpbsz --getro $DEV
mkswap $DEV
swapon $DEV
zramctl --noheadings --output NAME,ALGORITHM,DISKSIZE,MOUNTPOINT $DEV
grep "^$DEV " /proc/swaps
echo 1 >$SYS/reset || true
echo $N >/sys/class/zram-control/hot_remove || true
swapoff $DEV
mkfs.ext4 -q $DEV
mkdir -p $DIR
mount $DEV $DIR
findmnt --noheadings --output SOURCE,FSTYPE $DIR
head -c 20M /dev/zero | tr '\\0' x >$DIR/filled
lsblk --noheadings --output NAME,SIZE,RO,RM,TYPE,LOG-SEC,PHY-SEC,ROTA,MOUNTPOINT $DEV
zramctl --reset $DEV || true
umount $DIR
e2fsck -fn $DEV >/dev/null
exec 5<$DEV
echo 1 >$SYS/reset || true
exec 5<&-
echo 1 >$SYS/reset
cat $SYS/disksize $SYS/initstate
echo 64M >$SYS/disksize
blockdev --getsize64 $DEV
cmp --bytes=67108864 $DEV /dev/zero && echo zeros
blkdiscard $DEV
echo $N >/sys/class/zram-control/hot_remove
ls $DEV $SYS || true
zramctl --noheadings
"""


@pytest.fixture(autouse=True)
def loop_devices() -> None:
    if not Path("/dev/loop-control").exists():
        pytest.skip("no loop devices here")


def loops_over(mounted: Mounted) -> str:
    return "".join(
        subprocess.check_output(["losetup", "--associated", file], text=True) for file in mounted.path.glob("zram*")
    )


def pids_in(folder: Path) -> dict[str, int]:
    return {file.name: int(file.read_text()) for file in folder.glob("*.pid") if file.read_text().strip()}


# ---- as the kernel's --------------------------------------------------------------------------------------------


def normalised(text: str, number: int) -> str:
    text = re.sub(rf"(?m)^/dev/zram(?!{number}\b).*\n", "", text)  # zramctl lists the kernel's other devices, too
    text = re.sub(r"UUID=\S+", "UUID", text)
    text = re.sub(rf"zram{number}\b", "zramN", text)
    text = re.sub(r"(bash|.*/[^ ]*): line \d+", "line", text)
    return re.sub(r"[ \t]+", " ", text)


def test_session_prints_what_it_prints_with_the_kernels_zram(mount: Mount, tmp_path: Path) -> None:
    if not KERNEL_CONTROL.exists():
        pytest.skip("the kernel has no zram here")
    mounted = mount(size=None)
    with numbers_of_the_kernel(alone=True):
        number = int((KERNEL_CONTROL / "hot_add").read_text())
        environment = os.environ | {"N": str(number), "DIR": str(tmp_path / "kernel")}
        kernel = subprocess.run(
            ["bash", "-c", SESSION], stdout=subprocess.PIPE, text=True, check=False, env=environment
        )
        with suppress(OSError):
            (KERNEL_CONTROL / "hot_remove").write_text(str(number))
    ours = run_in(mounted, SESSION, N="0", DIR=str(tmp_path / "ours"))
    assert kernel.returncode == ours.returncode == 0, kernel.stdout + ours.stdout + ours.stderr
    expected = normalised(kernel.stdout, number).replace(str(tmp_path / "kernel"), "DIR")
    assert normalised(ours.stdout, 0).replace(str(tmp_path / "ours"), "DIR") == expected


def test_zramctl_finds_a_free_device_and_adds_one_when_there_is_none(mount: Mount) -> None:
    mounted = mount(size="16M")
    done = run_in(mounted, "zramctl --find --size 256M --algorithm lz4; zramctl --noheadings --output NAME,DISKSIZE")
    assert done.stdout.split() == ["/dev/zram1", "/dev/zram0", "16M", "/dev/zram1", "256M"]
    assert mounted.show("disksize", "zram1") == f"{256 * MIB}\n"


def test_script_that_names_the_kernels_default_algorithm_gets_it(mount: Mount) -> None:
    script = """
        set -e
        dev=$(zramctl --find --size 64M --algorithm lzo-rle)
        mkswap -q $dev
        zramctl --noheadings --output NAME,ALGORITHM $dev
        cat /sys/block/zram0/comp_algorithm
    """
    done = run_in(mount(size=None), script)
    assert done.stdout.splitlines()[0].split() == ["/dev/zram0", "lzo-rle"]
    assert done.stdout.splitlines()[1].startswith("[lzo-rle] lzo lz4 ")


def test_script_that_knows_only_sysfs_swaps_on_the_kernels_default_algorithm(mount: Mount) -> None:
    script = """
        set -e
        echo -n lzo-rle > /sys/block/zram0/comp_algorithm
        echo -n 67108864 > /sys/block/zram0/disksize
        mkswap -q /dev/zram0
        swapon -p 100 /dev/zram0
        grep zram /proc/swaps
        zramctl --noheadings --output ALGORITHM,MOUNTPOINT /dev/zram0
        swapoff /dev/zram0
        grep -c zram /proc/swaps || true
    """
    done = run_in(mount(size=None), script)
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["/dev/zram0", "partition", "65532", "0", "100"], ["lzo-rle", "[SWAP]"], ["0"],
    ], done.stderr  # fmt: skip


def test_script_that_loops_over_devices(mount: Mount) -> None:
    script = """
        set -e
        for n in 1 2 3; do [ $(cat /sys/class/zram-control/hot_add) = $n ]; done
        for dev in /sys/block/zram*; do
            echo 16M > $dev/disksize
            dd if=/dev/urandom of=/dev/${dev##*/} bs=1M count=4 conv=fsync status=none
            set -- $(cat $dev/mm_stat)
            echo ${dev##*/} $1 $(stat -c %Hr:%Lr /dev/${dev##*/}) $(cat $dev/dev)
        done
        for n in 3 2 1; do echo $n > /sys/class/zram-control/hot_remove; done
        ls -d /dev/zram* /sys/class/block/zram*
    """
    done = run_in(mount(size=None), script)
    *devices, node, link = done.stdout.splitlines()
    assert [line.split()[:2] for line in devices] == [[f"zram{n}", str(4 * MIB)] for n in range(4)]
    assert all(line.split()[2] == line.split()[3] for line in devices)
    assert (node, link) == ("/dev/zram0", "/sys/class/block/zram0")


def test_works_where_the_kernel_has_no_zram(mount: Mount, tmp_path: Path) -> None:
    mounted = mount(size=None)
    bare = """
        set -e
        for folder in /sys/class /sys/block /sys/class/block; do
            copy=$(mktemp -d -p "$DIR")
            for entry in $(ls $folder | grep -v zram); do
                if [ -L $folder/$entry ]; then cp -a $folder/$entry $copy; else mkdir $copy/$entry; fi
            done
            mount --bind $copy $folder
        done
        [ ! -e /sys/class/zram-control ]
        "$ZRAMFS" exec "$MNT" -- sh -ec '
            zramctl --find --size 64M; mkfs.ext4 -q /dev/zram0; ls -d /sys/class/net /sys/block/*'
    """
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", bare],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"DIR": str(tmp_path), "ZRAMFS": ZRAMFS, "MNT": str(mounted.path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("/dev/zram0\n")
    assert "/sys/block/zram0\n" in done.stdout
    assert "/sys/class/net\n" in done.stdout


def test_nobody_else_sees_the_devices(mount: Mount) -> None:
    mounted = mount()
    command = subprocess.Popen(
        [ZRAMFS, "exec", mounted.path, "--", "sh", "-c", "stat --format %Hr /dev/zram0; cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    try:
        assert command.stdout.readline() == "7\n"
        node = Path("/dev/zram0")
        assert not node.exists() or os.major(node.stat().st_rdev) != 7
        assert not Path("/sys/devices/virtual/block/zram").exists()
        ours = [line for line in Path("/proc/mounts").read_text().splitlines() if line.startswith("zramfs ")]
        assert [line.split()[1] for line in ours if str(mounted.path) in line] == [str(mounted.path)]
        assert not any(os.path.ismount(place) for place in ("/sys/block", "/sys/class/block", "/sys/dev/block"))
    finally:
        command.communicate("")


# ---- exit codes, signals, terminal ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], 137),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["no-such-command"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_exit_code_is_the_commands(mount: Mount, command: list[str], exit_code: int) -> None:
    assert zramfs("exec", mount().path, "--", *command).returncode == exit_code


def test_options_behind_the_mount_point_are_the_commands(mount: Mount) -> None:
    assert zramfs("exec", mount().path, "echo", "--help", "--", "-x").stdout == "--help -- -x\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signal_is_passed_on(mount: Mount, number: signal.Signals) -> None:
    script = f"trap 'echo caught; exit 5' {number.name}; echo ready; while :; do sleep 0.05; done"
    command = subprocess.Popen(
        [ZRAMFS, "exec", mount().path, "--", "bash", "-c", script], stdout=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "ready\n"
    command.send_signal(number)
    assert command.communicate(timeout=20)[0] == "caught\n"
    assert command.returncode == 5


def read_until(fd: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        readable, _, _ = select.select([fd], [], [], 20)
        assert readable, seen
        seen += os.read(fd, 4096)
    return seen


def exec_on_terminal(mounted: Mounted, *command: str) -> tuple[int, int]:
    """Run a command in `zramfs exec` on a terminal of its own; its process id, and our end of the terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(ZRAMFS, [ZRAMFS, "exec", str(mounted.path), "--", *command])  # noqa: S606
    return pid, terminal


def test_shell_has_the_terminal_and_job_control(mount: Mount) -> None:
    mounted = mount()
    pid, terminal = exec_on_terminal(mounted, "bash", "--norc", "--noprofile", "-i")
    os.write(terminal, b"tty; sleep 100; echo after $?\n")
    said = read_until(terminal, b"/dev/pts/")
    time.sleep(0.3)  # until sleep is in the foreground
    os.write(terminal, b"\x1a")
    said += read_until(terminal, b"after 148")
    os.write(terminal, b"fg\n")
    said += read_until(terminal, b"sleep 100")
    time.sleep(0.3)
    os.write(terminal, b"\x03")
    os.write(terminal, b"echo then $?\n")
    said += read_until(terminal, b"then 130")
    os.write(terminal, b"exit 4\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 4
    assert b"no job control" not in said
    assert loops_over(mounted) == ""


def test_interrupt_from_the_terminal_ends_the_command(mount: Mount) -> None:
    mounted = mount()
    pid, terminal = exec_on_terminal(mounted, "bash", "-c", "echo ready; exec sleep 100")
    read_until(terminal, b"ready")
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    assert loops_over(mounted) == ""


# ---- what is left -----------------------------------------------------------------------------------------------

LEAVE_EVERYTHING = """
    set -e
    cat /sys/class/zram-control/hot_add
    echo 64M > /sys/block/zram1/disksize
    mkswap /dev/zram0 && swapon /dev/zram0
    mkfs.ext4 -q /dev/zram1 && mkdir -p "$DIR"/mnt && mount /dev/zram1 "$DIR"/mnt && echo kept > "$DIR"/mnt/file
    (cd "$DIR"/mnt; setsid sleep 1000 & echo $! > "$DIR"/orphan.pid)
    echo $$ > "$DIR"/command.pid
"""


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
    command = subprocess.Popen(
        [ZRAMFS, "exec", mounted.path, "--", "sh", "-c", "echo ready; cat; dd if=/dev/zram0 of=/dev/null count=1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "ready\n"
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
    first = subprocess.Popen(
        [ZRAMFS, "exec", mounted.path, "--", "sh", "-c", "echo ready; cat; ls /dev/zram0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "ready\n"
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
    command = subprocess.Popen(
        [ZRAMFS, "exec", mounted.path, "--", "bash", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    assert command.stdin is not None
    assert command.stdout.readline() == "ready\n"
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
