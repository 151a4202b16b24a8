import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import ZRAMFS, Mounted, is_mounted, zramfs

Mount = Callable[..., Mounted]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_signals_leave_a_line_and_everybodys_data(mount: Mount) -> None:
    mounted = mount()
    mounted.file.write_bytes(b"kept")
    ignored = ["SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGTSTP"]
    for name in [*ignored, "SIGPIPE", "SIGTTIN", "SIGTTOU", "SIGXFSZ"]:
        os.kill(mounted.pid, signal.Signals[name])
    os.kill(mounted.pid, signal.SIGRTMAX)
    wait_for(lambda: "SIGRTMAX is ignored" in mounted.log.read_text(), "no line in the log")
    assert [name for name in ignored if f"{name} is ignored" not in mounted.log.read_text()] == []
    assert mounted.file.read_bytes()[:4] == b"kept"


def test_signals_do_not_disturb_what_is_in_flight(mount: Mount, fio: Callable[..., None]) -> None:
    mounted = mount()
    sender = subprocess.Popen(
        [sys.executable, "-c", f"import os, time\nwhile True: os.kill({mounted.pid}, 10); time.sleep(0.0003)"]
    )
    try:
        fio(mounted.file, "--size=64M", "--rw=randwrite", "--bs=16k", "--ioengine=libaio", "--iodepth=16", "--direct=1")
    finally:
        sender.kill()
        sender.wait()
    assert mounted.is_running()


def test_rotated_log_goes_on_in_a_new_file(mount: Mount) -> None:
    mounted = mount()
    mounted.file.write_bytes(b"kept")
    rotated = mounted.log.rename(mounted.log.with_suffix(".1"))
    os.kill(mounted.pid, signal.SIGHUP)
    wait_for(lambda: mounted.log.exists() and "opened anew" in mounted.log.read_text(), "no new log")
    assert mounted.file.read_bytes()[:4] == b"kept"
    assert zramfs("umount", mounted.path).returncode == 0
    assert "is unmounted" in mounted.log.read_text()
    assert "is unmounted" not in rotated.read_text()


def test_log_of_a_mount_from_a_terminal_is_rotated_as_any(tmp_path: Path) -> None:
    path, log = tmp_path / "mnt", tmp_path / "log"
    path.mkdir()
    ours, terminal = pty.openpty()
    command = ["setsid", "--wait", "--ctty", ZRAMFS, "mount", path, "--size", "16M", "--log", log]
    subprocess.run(command, stdin=terminal, stdout=terminal, stderr=terminal, check=True)
    os.close(terminal)
    os.close(ours)
    mounted = Mounted(path, log)
    try:
        mounted.file.write_bytes(b"kept")
        os.kill(mounted.pid, signal.SIGHUP)
        wait_for(lambda: "opened anew" in log.read_text(), "not opened anew")
        assert mounted.file.read_bytes()[:4] == b"kept"
    finally:
        assert zramfs("umount", path).returncode == 0


def test_closed_terminal_unmounts_a_foreground_mount(tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    ours, terminal = pty.openpty()
    daemon = subprocess.Popen(
        ["setsid", "--ctty", ZRAMFS, "mount", path, "--size", "16M", "--foreground"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    wait_for((path / "zram0").exists, "not mounted")
    os.close(ours)
    assert daemon.wait(timeout=20) >= 0  # below that, a signal has ended it
    assert not is_mounted(path)


def test_hup_leaves_a_foreground_mount_that_has_its_terminal(tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    daemon = subprocess.Popen([ZRAMFS, "mount", path, "--size", "16M", "--foreground"], stderr=subprocess.PIPE)
    wait_for((path / "zram0").exists, "not mounted")
    daemon.send_signal(signal.SIGHUP)
    daemon.send_signal(signal.SIGTERM)
    _, said = daemon.communicate(timeout=20)
    assert daemon.returncode == 0
    assert b"SIGHUP: there is no log file" in said
    assert b"SIGTERM: unmounting" in said


def test_mount_that_nobody_waited_for_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    log = tmp_path / "log"
    caller = subprocess.Popen([ZRAMFS, "mount", path, "--devices", "64", "--log-file", log])
    children = Path(f"/proc/{caller.pid}/task/{caller.pid}/children")
    wait_for(lambda: log.exists() and children.read_text() != "", "no daemon")
    caller.kill()
    assert caller.wait() == -signal.SIGKILL
    wait_for(lambda: "is unmounted" in log.read_text(), "no end")
    assert not is_mounted(path)


@pytest.mark.parametrize("is_odd", [False, True])
def test_default_log_stays_only_if_it_has_something_to_say(tmp_path: Path, *, is_odd: bool) -> None:
    path = tmp_path / "a-b"
    path.mkdir()
    log = Path("/var/log/zramfs") / f"{str(path).strip('/').replace('-', '%2D').replace('/', '-')}.log"
    assert zramfs("mount", path, "--size", "16M").returncode == 0
    try:
        assert "mounts" in log.read_text()
        if is_odd:
            os.kill(int((path / "sys/fs/zramfs/pid").read_text()), signal.SIGUSR1)
            wait_for(lambda: "SIGUSR1" in log.read_text(), "no line in the log")
        assert zramfs("umount", path).returncode == 0
        assert log.exists() == is_odd
    finally:
        log.unlink(missing_ok=True)


def test_mount_without_a_place_for_its_log_is_made_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    script = (
        "mount -t tmpfs -o ro none /var/log && "
        f"{ZRAMFS} mount {path} --size 16M && dd if=/dev/zero of={path}/zram0 bs=4k count=1 status=none && "
        f"{ZRAMFS} umount {path}"
    )
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.startswith("zramfs: warning: cannot log to /var/log/zramfs/")
    assert "Read-only file system" in done.stderr
    assert done.stderr.count("\n") == 1
