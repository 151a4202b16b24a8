"""With whom a mount ends, who is told, and who asks for it: parents, pid files, service managers, mount(8)."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mounts import ZRAMFS, Mounted, is_mounted, zramfs
from namespaces import mount_namespace

Mount = Callable[..., Mounted]

BLKROGET = 0x125E


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def said(manager: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())


def test_mount_ends_with_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.mkdir()
    script = (
        f"{ZRAMFS} mount {path} --size 1M --exit-with-parent --log /dev/null && grep -c {path} /proc/mounts; kill -9 $$"
    )
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=False).stdout == b"1\n"
    deadline = time.monotonic() + 20
    while is_mounted(path):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_umount_names_who_has_the_mount_in_another_namespace(mount: Mount) -> None:
    mounted = mount()
    with mount_namespace() as pid:
        said = zramfs("umount", mounted.path)
    assert (said.returncode, said.stderr.count("\n")) == (1, 1)
    assert f"process {pid} has it in another mount namespace, at {mounted.path}" in said.stderr
    assert not is_mounted(mounted.path)


def test_pid_file_is_there_as_long_as_the_mount(mount: Mount, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    noted.write_text("4194304\n")  # of a daemon that was killed: no process can have this number
    mounted = mount("--pid-file", noted)
    assert noted.read_text() == f"{mounted.pid}\n"
    (tmp_path / "other").mkdir()
    second = zramfs("mount", tmp_path / "other", "--size", "1M", "--pid-file", noted)
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert f"of process {mounted.pid}, which lives" in second.stderr
    assert zramfs("unmount", mounted.path).returncode == 0
    assert not noted.exists()


def test_service_manager_is_told(mount: Mount, manager: socket.socket) -> None:
    mounted = mount(size="1M")
    ready = said(manager)
    assert (ready["READY"], ready["MAINPID"]) == ("1", str(mounted.pid))
    assert str(mounted.path) in ready["STATUS"]
    os.kill(mounted.pid, signal.SIGHUP)
    assert said(manager)["RELOADING"] == "1"
    assert said(manager) == {"READY": "1"}
    os.kill(mounted.pid, signal.SIGTERM)
    assert said(manager)["STOPPING"] == "1"


def test_read_only_mount_refuses_writes_and_reset(mount: Mount) -> None:
    mounted = mount("--read-only", size="1M")
    assert mounted.file.stat().st_mode & 0o777 == 0o444
    for flags in (os.O_WRONLY, os.O_RDWR):
        with pytest.raises(OSError, match="Read-only"):
            os.open(mounted.file, flags)
    with pytest.raises(OSError, match="Read-only"):
        mounted.attribute("reset").write_text("1")
    mounted.attribute("mem_limit").write_text("1M")
    assert mounted.file.read_bytes() == bytes(1 << 20)
    refused = zramfs("loop", "attach", mounted.path)
    assert (refused.returncode, "--read-only" in refused.stderr) == (1, True)


def test_loop_device_has_the_shape_that_was_asked_for(mount: Mount) -> None:
    mounted = mount(size="2M")
    mounted.file.write_bytes(bytes(1 << 20) + b"x" * 4096)
    shape = ("--read-only", "--sector-size", "512", "--offset", "1M")
    loop = Path(zramfs("loop", "attach", mounted.path, *shape).stdout.strip())
    with loop.open("rb") as device:
        assert device.read(4096) == b"x" * 4096
    ours = os.open(loop, os.O_RDONLY)
    assert fcntl.ioctl(ours, BLKROGET, bytes(4)) == b"\1\0\0\0"
    os.close(ours)
    listed = zramfs("loop", "list", mounted.path).stdout.splitlines()
    assert listed[1].split() == [str(loop), "512", str(1 << 20), "ro", str(mounted.file)]
    assert zramfs("loop", "detach", mounted.path).returncode == 0
    assert len(zramfs("loop", "list", mounted.path).stdout.splitlines()) == 1


HELPER = str(Path(ZRAMFS).with_name("mount.fuse.zramfs"))

# mount(8) looks in /sbin: our program is put there, in a mount namespace of the test's own.
WITH_HELPER = """
set -e
mount -t tmpfs none "$SCRATCH"
mkdir "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/m"
mount -t overlay none /usr/sbin -o "lowerdir=/usr/sbin,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" || exit 77
printf '#!/bin/sh\\nexec %s -c "import sys; from zramfs.cli.main import main; sys.argv[0] = sys.argv.pop(1); main()" \\
mount.fuse.zramfs "$@"\\n' "$PYTHON" > /usr/sbin/mount.fuse.zramfs
chmod +x /usr/sbin/mount.fuse.zramfs
set +e
"""


def test_mount_and_fstab(tmp_path: Path) -> None:
    script = WITH_HELPER + (
        'printf "zramfs %s fuse.zramfs size=8M,algorithm=lzo-rle,nofail 0 0\\n" "$SCRATCH/m" > "$SCRATCH/fstab"\n'
        'mount -a -T "$SCRATCH/fstab" && stat -c %s "$SCRATCH/m/zram0"; cat "$SCRATCH"/m/sys/block/zram0/comp_alg*\n'
        'mount -a -T "$SCRATCH/fstab"; echo again $?; umount "$SCRATCH/m"\n'
        'mount -t fuse.zramfs none "$SCRATCH/m" -o ro,size=1M && stat -c %a "$SCRATCH/m/zram0"; umount "$SCRATCH/m"\n'
        'mount -t fuse.zramfs none "$SCRATCH/m" -o sise=1M; echo bad $?\n'
    )
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script],
        cwd="/",  # mount(8) takes a source for the file of that name here
        env=os.environ | {"SCRATCH": str(tmp_path), "PYTHON": str(Path(ZRAMFS).with_name("python"))},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("no overlay over /usr/sbin, where mount(8) looks for helpers")
    size, algorithms, *rest = done.stdout.splitlines()
    assert (size, "[lzo-rle]" in algorithms) == (str(8 << 20), True), done.stderr
    assert rest == ["again 0", "444", "bad 1"], done.stderr
    assert "did you mean size?" in done.stderr


@pytest.mark.parametrize("unit", ["zramfs@mnt-scratch", "zramfs-swap@mnt-scratch"])
def test_unit_is_one_that_systemd_takes(tmp_path: Path, unit: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (package systemd)")
    install_units(tmp_path)
    assert complaints_of_systemd(tmp_path, f"{unit}.service") == []


def test_units_that_are_enabled_leave_the_boot_in_order(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (package systemd)")
    for template in install_units(tmp_path):
        wanted_by = template.read_text().partition("\nWantedBy=")[2].split()[0]
        (tmp_path / f"{wanted_by}.wants").mkdir(exist_ok=True)
        enabled = template.name.replace("@", "@mnt-scratch")
        (tmp_path / f"{wanted_by}.wants" / enabled).symlink_to(template)
    assert complaints_of_systemd(tmp_path, "multi-user.target", "swap.target") == []


def install_units(folder: Path) -> list[Path]:
    installed = []
    for template in (Path(__file__).parents[2] / "contrib/systemd").glob("*.service"):
        installed.append(folder / template.name)
        installed[-1].write_text(template.read_text().replace("/usr/local/bin/zramfs", ZRAMFS))
    return installed


def complaints_of_systemd(folder: Path, *units: str) -> list[str]:
    """Return what systemd says of our units, beside others, and whatever it says of an order that cannot be."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{folder}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stderr.splitlines() if "zramfs" in line or "cycle" in line]
