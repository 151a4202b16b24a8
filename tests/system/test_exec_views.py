"""What commands in `zramfs exec` see of /dev, /sys and /proc: live, and with names that mean the mount's devices."""

import ctypes.util
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from exec_runs import is_alive, run_in, wait_until
from mounts import ZRAMFS, Mounted, zramfs
from zram_disks import numbers_of_the_kernel

pytestmark = pytest.mark.usefixtures("loop_devices")

Mount = Callable[..., Mounted]

KERNEL_CONTROL = Path("/sys/class/zram-control")
MAKEFS = Path("/lib/systemd/systemd-makefs")

LOOP_CTL_ADD = 0x4C80
LOOP_CTL_REMOVE = 0x4C81

ASK_LIBUDEV = """
import ctypes, os
udev = ctypes.CDLL("libudev.so.1")
for function in (udev.udev_new, udev.udev_device_new_from_devnum, udev.udev_device_new_from_subsystem_sysname):
    function.restype = ctypes.c_void_p
for name in ("syspath", "devnode", "subsystem", "devtype", "sysname"):
    getattr(udev, f"udev_device_get_{name}").restype = ctypes.c_char_p
context = ctypes.c_void_p(udev.udev_new())
number = ctypes.c_uint64(os.stat("/dev/zram0").st_rdev)
for device in (
    udev.udev_device_new_from_devnum(context, ctypes.c_char(b"b"), number),
    udev.udev_device_new_from_subsystem_sysname(context, b"block", b"zram0"),
):
    if not device:
        raise SystemExit("libudev knows of no such device")
    names = ("syspath", "devnode", "subsystem", "devtype", "sysname")
    print(*(getattr(udev, f"udev_device_get_{name}")(ctypes.c_void_p(device)).decode() for name in names))
"""


@pytest.fixture
def kernel_swap() -> Iterator[int]:
    """A device of the kernel's zram that the system swaps on; its number."""
    if not KERNEL_CONTROL.exists():
        pytest.skip("the kernel has no zram here")
    with numbers_of_the_kernel():
        number = int((KERNEL_CONTROL / "hot_add").read_text())
    node = f"/dev/zram{number}"
    try:
        Path(f"/sys/block/zram{number}/disksize").write_text("16M")
        subprocess.run(["mkswap", "--quiet", node], check=True)
        subprocess.run(["swapon", "--priority", "0", node], check=True)
        yield number
    finally:
        subprocess.run(["swapoff", node], check=False, capture_output=True)
        with suppress(OSError):
            Path(f"/sys/block/zram{number}/reset").write_text("1")
        (KERNEL_CONTROL / "hot_remove").write_text(str(number))


@pytest.fixture
def late_loop() -> Iterator[Callable[[str], Path]]:
    """Make a loop device that was not there before, far beyond the first eight; its node."""
    control = os.open("/dev/loop-control", os.O_RDWR)
    made: list[int] = []

    def make(action: str) -> Path:
        if action == "remove":
            fcntl.ioctl(control, LOOP_CTL_REMOVE, made.pop())
        else:
            made.append(fcntl.ioctl(control, LOOP_CTL_ADD, 1000 + os.getpid() % 10000))
        return Path(f"/dev/loop{1000 + os.getpid() % 10000}")

    yield make
    for number in made:
        fcntl.ioctl(control, LOOP_CTL_REMOVE, number)
    os.close(control)


@contextmanager
def shell_in(mounted: Mounted) -> Iterator[Callable[[str], str]]:
    """Run lines in one shell that is in `zramfs exec`; what each prints."""
    command = subprocess.Popen(
        [ZRAMFS, "exec", mounted.path, "--", "bash"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def run(line: str) -> str:
        assert command.stdout is not None
        print(f"{line}\necho; echo END-OF-LINE", file=command.stdin, flush=True)
        return "".join(iter(command.stdout.readline, "END-OF-LINE\n")).strip()

    try:
        yield run
    finally:
        with suppress(BrokenPipeError):
            command.communicate("", timeout=30)


@pytest.fixture
def shell(mount: Mount) -> Iterator[Callable[[str], str]]:
    with shell_in(mount(size="16M")) as run:
        yield run


# ---- programs that know more than sysfs -------------------------------------------------------------------------


def test_libudev_finds_the_device(mount: Mount) -> None:
    if ctypes.util.find_library("udev") is None:
        pytest.skip("libudev is not installed")
    done = run_in(mount(size="16M"), f"{sys.executable} -c '{ASK_LIBUDEV}'; cat /sys/class/block/zram0/uevent")
    assert done.returncode == 0, done.stderr
    found = "/sys/devices/virtual/block/zram0 /dev/zram0 block disk zram0"
    *devices, major, minor, name, kind = done.stdout.splitlines()
    assert devices == [found, found]
    assert (major, name, kind) == ("MAJOR=7", "DEVNAME=zram0", "DEVTYPE=disk")
    assert minor.startswith("MINOR=")


def test_systemd_makes_swap_and_file_systems(mount: Mount) -> None:
    if not MAKEFS.exists():
        pytest.skip("systemd-makefs is not installed")
    done = run_in(
        mount(size="64M"), f"{MAKEFS} swap /dev/zram0 && swapon /dev/zram0 && swapoff /dev/zram0 && blkid /dev/zram0"
    )
    assert done.returncode == 0, done.stderr
    assert 'TYPE="swap"' in done.stdout


def test_label_is_found_as_soon_as_it_is_made(mount: Mount) -> None:
    script = """
        mkswap -q -L first$$ /dev/zram0; blkid /dev/zram0
        mkswap -q -L other$$ /dev/zram0; swapon -L other$$ && swapoff -L other$$
    """
    done = run_in(mount(size="16M"), script)
    assert (done.returncode, done.stderr) == (0, "")


def test_lsblk_shows_discard(mount: Mount) -> None:
    done = run_in(mount(size="16M"), "lsblk --noheadings --discard /dev/zram0; cat /sys/block/zram0/queue/io_poll")
    assert done.stdout.split() == ["zram0", "0", "4K", "2T", "0", "0"]


# ---- names that others have, too --------------------------------------------------------------------------------

USE_DESPITE_THE_OTHER = """
    set -e
    exec 2>&1
    N=0
    while [ $N -lt $OTHER ]; do N=$(cat /sys/class/zram-control/hot_add); done
    zramctl --size 32M /dev/zram$OTHER
    echo :$(grep zram /proc/swaps)
    mkswap -q /dev/zram$OTHER
    swapon /dev/zram$OTHER
    set -- $(grep zram /proc/swaps)
    echo :$1 $2 $3
    echo :$(zramctl --noheadings --output NAME,DISKSIZE,MOUNTPOINT /dev/zram$OTHER)
    echo :$(grep -c "zram$OTHER\\$" /proc/partitions) $(grep -c " zram$OTHER " /proc/diskstats)
    mkswap /dev/zram$OTHER || echo refused
    swapoff /dev/zram$OTHER  # not -a: the system may have swap of its own
    echo :$(grep zram /proc/swaps)
    mkfs.ext4 -q /dev/zram$OTHER
    mount /dev/zram$OTHER "$DIR"
    echo :$(zramctl --noheadings --output MOUNTPOINT /dev/zram$OTHER) $(findmnt -no SOURCE "$DIR")
    umount /dev/zram$OTHER
    echo :$(findmnt -no SOURCE "$DIR")
"""


def assert_used_despite_the_other(done: subprocess.CompletedProcess[str], number: int, folder: Path) -> None:
    assert done.returncode == 0, done.stdout
    name = f"/dev/zram{number}"
    assert [line[1:] for line in done.stdout.splitlines() if line.startswith(":")] == [
        "",
        f"{name} partition 32764",
        f"{name} 32M [SWAP]",
        "1 1",
        "",
        f"{folder} {name}",
        "",
    ]
    assert "is mounted; will not make swapspace" in done.stdout


def test_swap_on_the_kernels_device_of_that_name_is_somebody_elses(
    mount: Mount, tmp_path: Path, kernel_swap: int
) -> None:
    done = run_in(mount(size=None), USE_DESPITE_THE_OTHER, OTHER=str(kernel_swap), DIR=str(tmp_path))
    assert_used_despite_the_other(done, kernel_swap, tmp_path)
    assert f"/dev/zram{kernel_swap} " in Path("/proc/swaps").read_text()


def test_swap_in_another_exec_is_somebody_elses(mount: Mount, tmp_path: Path) -> None:
    with shell_in(mount(size="16M")) as other:
        assert other("mkswap -q /dev/zram0; swapon /dev/zram0 && echo swaps") == "swaps"
        done = run_in(mount(size=None), USE_DESPITE_THE_OTHER, OTHER="0", DIR=str(tmp_path))
        assert other("grep zram /proc/swaps").split()[:3] == ["/dev/zram0", "partition", "16380"]
    assert_used_despite_the_other(done, 0, tmp_path)


def test_exec_within_an_exec_shows_its_own(mount: Mount, tmp_path: Path) -> None:
    script = """
        mkswap -q /dev/zram0 && swapon /dev/zram0
        "$ZRAMFS" exec "$INNER" -- bash -c "$SCRIPT" && grep zram /proc/swaps
    """
    inner = mount(size=None)
    environment = {"ZRAMFS": ZRAMFS, "INNER": str(inner.path), "OTHER": "0", "DIR": str(tmp_path)}
    done = run_in(mount(size="16M"), script, SCRIPT=USE_DESPITE_THE_OTHER, **environment)
    *lines, last = done.stdout.splitlines(keepends=True)
    assert last.split()[:3] == ["/dev/zram0", "partition", "16380"]
    done.stdout = "".join(lines)
    assert_used_despite_the_other(done, 0, tmp_path)


# ---- live -------------------------------------------------------------------------------------------------------


def test_what_the_kernel_makes_later_shows_at_once(
    shell: Callable[[str], str], late_loop: Callable[[str], Path], tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(8 << 20))
    loop = Path(f"/dev/loop{1000 + os.getpid() % 10000}")
    names = f"{loop} /sys/block/{loop.name} /sys/class/block/{loop.name} {loop}p2"
    assert shell(f"ls -d {names} 2>/dev/null") == ""
    late_loop("add")
    assert shell(f"ls -d {names} 2>/dev/null").split() == sorted(names.split()[:3])
    assert shell(f"cat /sys/block/{loop.name}/size; losetup {loop} {image}; cat /sys/block/{loop.name}/size") == (
        "0\n16384"
    )
    assert shell(f"addpart {loop} 2 2048 4096; ls {loop}p2; cat /sys/class/block/{loop.name}p2/start") == (
        f"{loop}p2\n2048"
    )
    assert shell(f"delpart {loop} 2; losetup -d {loop}; ls {loop}p2 2>/dev/null") == ""
    wait_until(lambda: not Path(f"/sys/block/{loop.name}/loop").exists(), "the loop device stays bound")
    late_loop("remove")
    assert shell(f"ls -d {names} 2>/dev/null") == ""


def test_changes_of_dev_are_seen_by_nobody_else(shell: Callable[[str], str]) -> None:
    name = f"zramfs-test-{os.getpid()}"
    assert (
        shell(f"cd /dev; mkdir {name}; ln -s ../zram0 {name}/link; mknod {name}/node b 1 2; ls {name}") == "link\nnode"
    )
    assert shell(f"readlink {name}/link; stat -c '%F %t:%T' {name}/node; stat -Lc %t {name}/link") == (
        "../zram0\nblock special file 1:2\n7"
    )
    assert shell(f"echo text >{name}/file; echo more >>{name}/file; mv {name}/file {name}/moved; cat {name}/moved") == (
        "text\nmore"
    )
    assert not Path("/dev", name).exists()
    assert shell(f"rm -r {name}; ls -d {name} 2>/dev/null") == ""
    assert shell("rm full; chmod 600 zero; ls full 2>/dev/null; stat -c %a zero") == "600"
    assert "No space left on device" in shell("mknod full c 1 7; echo >full")
    assert Path("/dev/full").exists()
    assert Path("/dev/zero").stat().st_mode & 0o777 == 0o666


# ---- the processes behind it ------------------------------------------------------------------------------------


def test_other_mount_can_be_unmounted_meanwhile(mount: Mount) -> None:
    other = mount(size="16M")
    with shell_in(mount(size="16M")) as shell:
        assert shell(f"ls -d {other.path}/zram0") == f"{other.path}/zram0"
        done = zramfs("umount", other.path)
        assert (done.returncode, done.stderr) == (0, "")
        assert shell(f"ls {other.path}; ls -d /dev/zram0") == "/dev/zram0"


def test_command_ends_with_a_process_that_serves_its_view(mount: Mount) -> None:
    command = subprocess.Popen(
        [ZRAMFS, "exec", mount().path, "--", "bash", "-c", "echo $PPID $$; exec sleep 1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    keeper, pid = (int(word) for word in command.stdout.readline().split())
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    os.kill(next(int(child) for child in children if int(child) != pid), 9)
    assert command.communicate(timeout=30)[1] == "zramfs: a process that serves /dev has ended\n"
    assert command.returncode == 1
    assert not is_alive(pid)
