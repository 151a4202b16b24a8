"""`zramfs exec`: commands that know nothing of zramfs, beside the kernel's zram, and what is left of them."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from exec_runs import begin, loops_over, run_in
from mounts import MIB, ZRAMFS, Mounted, zramfs
from zram_disks import numbers_of_the_kernel

Mount = Callable[..., Mounted]

pytestmark = pytest.mark.usefixtures("loop_devices")

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
    command = begin(mounted, "stat --format %Hr /dev/zram0; cat", says="7")
    try:
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
        ([""], 127),
    ],
)
def test_exit_code_is_the_commands(mount: Mount, command: list[str], exit_code: int) -> None:
    assert zramfs("exec", mount().path, "--", *command).returncode == exit_code


def test_options_behind_the_mount_point_are_the_commands(mount: Mount) -> None:
    assert zramfs("exec", mount().path, "echo", "--help", "--", "-x").stdout == "--help -- -x\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signal_is_passed_on(mount: Mount, number: signal.Signals) -> None:
    script = f"trap 'echo caught; exit 5' {number.name}; echo ready; while :; do sleep 0.05; done"
    command = begin(mount(), script)
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
