"""Root's verbs on the mount of another user, whose daemon is out for what root can open; and files that root writes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mounts import ZRAMFS, Mounted, is_mounted, zramfs

DAEMON = Path(__file__).with_name("hostile_daemon.py")
NOBODY = "65534"


class HostileMount:
    """Mounted, with a file beside it that the daemon's names lead to."""

    def __init__(self, folder: Path) -> None:
        self.path, self.victim = folder / "mnt", folder / "victim"
        self.path.mkdir()
        self.victim.write_text("precious")
        self.daemon = subprocess.Popen(
            [sys.executable, DAEMON, self.path, self.victim], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def says(self) -> str:
        assert self.daemon.stdout is not None
        return self.daemon.stdout.readline().rstrip("\n")

    def ask(self, *requests: str) -> None:
        """Let it ask whoever lets it connect as a keeper."""
        assert self.daemon.stdin is not None
        self.daemon.stdin.write("".join(f"{request}\n" for request in requests))
        self.daemon.stdin.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the mount's owner can reach, as whom root asks."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def hostile(folder: Path) -> Iterator[HostileMount]:
    mount = HostileMount(folder)
    with mount.daemon:
        try:
            if mount.says() != "ready":
                pytest.skip("a daemon of another user cannot be mounted here")
            yield mount
        finally:
            mount.daemon.kill()
            subprocess.run(["umount", "--lazy", mount.path], check=False)
    assert mount.victim.read_text() == "precious"
    assert str(folder) not in subprocess.check_output(["losetup", "--list"], text=True)


def by_sudo(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a verb as if the mount's owner had become root by sudo: then the owner is trusted, and the files are not."""
    return zramfs(*arguments, SUDO_UID=NOBODY)


def test_root_gives_nothing_to_a_mount_of_another_user(hostile: HostileMount) -> None:
    for verb in (["exec", hostile.path, "--", "true"], ["loop", "attach", hostile.path, "--device", "zram1"]):
        done = zramfs(*verb)
        assert done.returncode == 1
        assert done.stderr.startswith(f"zramfs: the zramfs at {hostile.path} is of user {NOBODY}, ")
        assert done.stderr.count("\n") == 1
    assert zramfs("swap", "on", hostile.path, "--device", "zram1").returncode == 1


def test_verbs_follow_no_links_of_a_mount(hostile: HostileMount) -> None:
    for verb, device in ((("loop", "attach"), "zram2"), (("loop", "detach"), "zram0"), (("swap", "on"), "zram0")):
        done = by_sudo(*verb, hostile.path, "--device", device)
        assert done.returncode == 1
        assert done.stderr == f"zramfs: {hostile.path / device}: Too many levels of symbolic links\n"
    done = by_sudo("swap", "off", hostile.path, "--device", "zram0")  # opens no file: the kernel tells what is swap
    assert done.returncode == 1
    assert done.stderr == f"zramfs: zram0 of {hostile.path} is not used for swap\n"
    done = by_sudo("loop", "attach", hostile.path, "--device", "zram01")
    assert done.stderr == f"zramfs: {hostile.path} has no device 'zram01': it has zram0, zram1, zram2\n"


def test_status_reads_no_file_without_end(hostile: HostileMount) -> None:
    done = zramfs("status", hostile.path)
    assert done.returncode == 1
    assert done.stderr == f"zramfs: {hostile.path}/sys/fs/zramfs/rss_bytes does not end, as an attribute would\n"


def test_keeper_attaches_only_block_files_and_goes_on_after_nonsense(hostile: HostileMount) -> None:
    hostile.ask(
        "attach ../victim", "attach zram0", "attach zram2", "attach zram01", "burn zram1", "attach zram1", "ready"
    )
    done = by_sudo("exec", hostile.path, "--", "sh", "-c", "ls /dev/zram*; head -c 4 /dev/zram1")
    assert done.stdout == "/dev/zram1\nxxxx"
    assert done.returncode == 0
    answers = [hostile.says() for _ in range(7)]
    assert [answer[2:].split()[0] for answer in answers] == ["22", "40", "40", "22", "22", "0", "0"]


def test_exec_ends_when_the_daemon_asks_for_too_much_at_a_time(hostile: HostileMount) -> None:
    hostile.ask("attach zram1\r" + "x" * 2000)
    done = by_sudo("exec", hostile.path, "--", "true")
    assert done.returncode == 1
    assert done.stderr.endswith("zramfs: a line of more than 1024 bytes\n")


def test_exec_can_be_interrupted_while_the_daemon_lets_no_file_be_opened(hostile: HostileMount) -> None:
    command = subprocess.Popen(
        [ZRAMFS, "exec", hostile.path, "--", "true"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"SUDO_UID": NOBODY},
    )
    hostile.ask("attach zram9")
    assert hostile.says() == "is looked for"
    command.terminate()
    try:
        _, said = command.communicate(timeout=30)
    finally:
        command.kill()
    assert command.returncode == 1
    assert said.endswith("zramfs: interrupted while the daemon let its files be opened\n")


# ---- files that root writes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--log-file", "--trace"])
def test_log_and_trace_follow_no_link_that_lies_in_a_shared_folder(tmp_path: Path, option: str) -> None:
    point, shared, victim = tmp_path / "mnt", tmp_path / "shared", tmp_path / "victim"
    point.mkdir()
    shared.mkdir()
    shared.chmod(0o1777)
    victim.write_text("precious")
    (shared / "link").symlink_to(victim)
    log = ("--log-file", tmp_path / "log") if option == "--trace" else ()
    done = zramfs("mount", point, "--size", "16M", *log, option, shared / "link")
    assert done.returncode == 1
    assert f"{shared / 'link'}: others may write to its folder, and it is no file of ours\n" in done.stderr
    assert done.stderr.count("\n") == 1
    assert victim.read_text() == "precious"
    assert not is_mounted(point)


def test_daemon_is_not_stopped_by_the_name_of_a_socket_on_its_own_mount(mount: Callable[..., Mounted]) -> None:
    mounted = mount(size="16M")
    with pytest.raises(OSError, match="Invalid argument"):
        (mounted.path / "sys/fs/zramfs/keeper").write_text(f"{mounted.path}/socket")
    started = time.monotonic()
    assert mounted.show("initstate") == "1\n"
    assert time.monotonic() - started < 5
