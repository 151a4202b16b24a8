"""`zramfs run`: what its command finds, and that nothing is left, whoever is killed when."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mounts import ZRAMFS, AttachedLoop, is_zombie, zramfs


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where runs make their folders; nothing may be in it at the end."""
    path = tmp_path / "places"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    wait_until_nothing_is_left(path)


def wait_until_nothing_is_left(path: Path) -> None:
    deadline = time.monotonic() + 30
    while left := [*(str(entry) for entry in path.iterdir()), *mounts_below(path), *processes_about(path)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def mounts_below(path: Path) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if f" {path}/" in line]


def processes_about(path: Path) -> list[str]:
    """Those that have the folder in their environment, but for us."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if f"TMPDIR={path}\0".encode() in (entry / "environ").read_bytes() and not is_zombie(int(entry.name)):
                    found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
    return found


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def run_shell(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return zramfs("run", "--size", "16M", *options, "--", "sh", "-c", script)


def test_command_has_a_block_file_in_a_private_folder(place: Path) -> None:
    done = run_shell('stat -c "%n %a %s" $ZRAMFS_DIR/zram0 $ZRAMFS_FILE; dirname $ZRAMFS_DIR; ls $ZRAMFS_DIR')
    file, same, folder, *names = done.stdout.splitlines()
    assert (file, done.returncode) == (same, 0)
    assert file.endswith(f"/zram0 600 {16 << 20}")
    assert (folder, names) == (str(place), ["sys", "zram0"])


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["/nowhere/program"], 127),
        (["/etc/passwd"], 126),
        ([""], 127),
    ],
)
def test_exit_code_is_the_commands(command: list[str], exit_code: int) -> None:
    assert zramfs("run", "--size", "1M", "--", *command).returncode == exit_code


def test_bad_options_are_bad_usage_and_nothing_is_run(tmp_path: Path) -> None:
    done = zramfs("run", "--size", "junk", "--", "touch", tmp_path / "ran")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert zramfs("run", "--size", "1M").returncode == 2
    assert not (tmp_path / "ran").exists()


def test_processes_that_still_use_the_mount_are_told_and_ended() -> None:
    done = run_shell("setsid sleep 600 <$ZRAMFS_FILE & sleep 0.1; exit 3")
    assert done.returncode == 3
    assert "(sleep)" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_user_who_is_none_of_ours_loses_the_mount(place: Path) -> None:
    run = subprocess.Popen(
        [ZRAMFS, "run", "--size", "1M", "--", "sh", "-c", "echo $ZRAMFS_FILE; read end"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdin is not None
    assert run.stdout is not None
    ours = os.open(run.stdout.readline().strip(), os.O_RDONLY)
    run.stdin.close()
    assert run.wait(60) == 1  # read(1) met the end
    wait_until_nothing_is_left(place)
    with pytest.raises(OSError, match=r"not connected|aborted"):
        os.read(ours, 1)
    run.stdout.close()
    with suppress(OSError):  # close(2) tells the same
        os.close(ours)


def test_loop_devices_and_file_systems_of_the_command_go(tmp_path: Path) -> None:
    (tmp_path / "fs").mkdir()
    script = (
        f"L=$({ZRAMFS} loop attach $ZRAMFS_DIR) && mkfs.ext4 -q $L && mount $L {tmp_path}/fs && echo $L "
        "&& cat /sys/block/${L#/dev/}/diskseq "
        f"&& echo text > {tmp_path}/fs/file"
    )
    done = run_shell(script)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "fs/file").exists()
    assert not AttachedLoop(*done.stdout.split()).is_attached()


def test_signal_is_passed_on(tmp_path: Path) -> None:
    script = f"trap 'exit 42' USR1; touch {tmp_path}/begun; while :; do sleep 0.02; done"
    run = subprocess.Popen([ZRAMFS, "run", "--size", "1M", "--", "sh", "-c", script])
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    run.send_signal(signal.SIGUSR1)
    assert run.wait(60) == 42


def test_command_that_unmounts_goes_on() -> None:
    assert run_shell(f"{ZRAMFS} umount $ZRAMFS_DIR && sleep 0.3; exit 5").returncode == 5


def test_command_ends_with_a_daemon_that_dies() -> None:
    done = run_shell("kill -KILL $(cat $ZRAMFS_DIR/sys/fs/zramfs/pid); sleep 600")
    assert done.returncode == 1
    assert done.stderr == "zramfs: the daemon of the mount has died, and the command is ended with it\n"


def test_command_that_fails_as_the_daemon_dies_does_not_hide_that() -> None:
    """Its parent, the keeper, sees both at once."""
    done = run_shell(
        "kill -STOP $PPID; kill -KILL $(cat $ZRAMFS_DIR/sys/fs/zramfs/pid); (sleep 0.5; kill -CONT $PPID) & exit 3"
    )
    assert done.returncode == 1
    assert done.stderr == "zramfs: the daemon of the mount has died; the command has ended with 3\n"


KILLED = ["run", "keeper", "daemon", "command"]


@pytest.mark.parametrize("whom", KILLED)
@pytest.mark.parametrize("after_s", [0.05, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4])
def test_nothing_is_left_of_a_run_of_which_one_is_killed(whom: str, after_s: float) -> None:
    """At any stage; `place` looks what is left."""
    script = "(setsid sleep 600 &); sleep 600 <$ZRAMFS_FILE & sleep 0.7"
    run = subprocess.Popen(
        [sys.executable, ZRAMFS, "run", "--size", "1M", "--", "sh", "-c", script],
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(after_s)
    with suppress(ProcessLookupError, FileNotFoundError):  # it has not begun, or has ended
        kill(run.pid, whom)
    _, said = run.communicate(timeout=60)
    assert "Traceback" not in said


@pytest.mark.parametrize("is_root_needed", [False, True])
def test_nothing_is_left_if_run_and_keeper_are_killed_together(tmp_path: Path, *, is_root_needed: bool) -> None:
    """They are stopped first: neither can do the other's work. `place` looks what is left."""
    attach = f"{ZRAMFS} loop attach $ZRAMFS_DIR > {tmp_path}/loop && " if is_root_needed else ""
    script = f"{attach}(setsid sleep 600 &); sleep 600 <$ZRAMFS_FILE & touch {tmp_path}/begun; wait"
    run = subprocess.Popen([ZRAMFS, "run", "--size", "1M", "--", "sh", "-c", script])
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    together = [run.pid, *children(run.pid)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in together:
            os.kill(pid, number)
    run.wait(60)
    if is_root_needed:
        loop = (tmp_path / "loop").read_text().strip()
        wait_until_nothing_is_left(Path(os.environ["TMPDIR"]))
        assert subprocess.run(["losetup", loop], capture_output=True, check=False).returncode == 1


def kill(run_pid: int, whom: str) -> None:
    keepers = children(run_pid)
    started = [child for keeper in keepers for child in children(keeper)]
    daemons = [pid for pid in started if b"zramfs" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    commands = [pid for pid in started if pid not in daemons]
    for pid in {"run": [run_pid], "keeper": keepers, "daemon": daemons, "command": commands}[whom][:1]:
        os.kill(pid, signal.SIGKILL)
