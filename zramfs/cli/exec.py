"""`zramfs exec`: a command for which the devices of a mount are the system's zram."""

import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import click

from zramfs.cli.asking import ask_living
from zramfs.cli.complaints import complain, complained_about
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.parameters import mountpoint_argument
from zramfs.cli.trust import require_daemon, require_trusted_owner
from zramfs.errors import CommandFailed, DeviceBusy, MountFailed
from zramfs.loop_device import LoopDevices
from zramfs.namespace.keeper import Keeper
from zramfs.namespace.protocol import Peer
from zramfs.supervise import errand
from zramfs.supervise.front import Front
from zramfs.supervise.remains import release_loops
from zramfs.unmounting import take_away_if_dead

_USERS: Final = Path("/proc/self/uid_map")
_ALL_USERS: Final = ["0", "0", "4294967295"]
"""What it says outside of user namespaces (user_namespaces(7))."""

_CONNECT_S: Final = 10.0
_LOCK_S: Final = 30.0  # gigabytes may have to be swapped in


@click.command(
    "exec",
    short_help="Run a command that uses /dev/zramN as if it were the kernel's.",
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True},
)
@mountpoint_argument
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def exec(mountpoint: Path, command: tuple[str, ...]) -> int:  # noqa: A001 - the verb's name
    """Run COMMAND with the devices of MOUNTPOINT as /dev/zramN, /sys/block/zramN and /sys/class/zram-control.

    Nobody else sees them there. What COMMAND leaves behind ends with it: processes, mounts, swap; what is stored on the
    devices stays. The exit code is COMMAND's, or 128 and the number of the signal that ended it.
    """
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise click.UsageError("Missing argument 'COMMAND...'.")
    _require_root()
    mounted = MountedZramfs(mountpoint)
    require_trusted_owner(mounted)
    with mounted.held() as mount_fd:
        numbers_over = partial(LoopDevices().numbers_over, mounted.mount.device_number)
        for number in errand.do(numbers_over, asked="the file system of a loop device"):
            raise DeviceBusy(f"a device of {mountpoint} is attached to /dev/loop{number} already: zramfs loop detach")
        with _linked_to_daemon(mounted) as link:
            keep = partial(_keep, mounted, mount_fd, words, link)
            front = Front(keep, partial(_recover, mounted, mount_fd), partial(errand.hangs, mount_fd))
        return front.wait()


def _require_root() -> None:
    if os.geteuid() != 0:
        raise CommandFailed("exec needs root: it makes loop devices and a mount namespace")
    if _USERS.read_text().split() != _ALL_USERS:
        raise CommandFailed("exec needs root of the system: a user namespace has no loop devices")


@contextmanager
def _linked_to_daemon(mounted: MountedZramfs) -> Iterator[socket.socket]:
    """Let the daemon connect to us, and nobody else."""
    with tempfile.TemporaryDirectory(prefix="zramfs-") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = f"{folder}/keeper"
        _listen(listener, path, require_trusted_owner(mounted))
        ask_living(mounted.mount, lambda: _name_keeper(mounted, path), as_owner=False)
        link = _accept(listener, mounted)
    with link:
        yield link


def _name_keeper(mounted: MountedZramfs, path: str) -> None:
    """Have the daemon connect to us."""
    try:
        mounted.set_daemon_attribute("keeper", path)
    except OSError as error:
        if error.errno != DeviceBusy.errno:
            raise
        raise DeviceBusy(f"another zramfs exec uses {mounted.path}: process {mounted.keeper_pid}") from error


def _listen(listener: socket.socket, path: str, user: int) -> None:
    """Listen where this user can connect, and root; others find the socket no more than before."""
    try:
        listener.bind(path)
    except OSError as error:
        raise CommandFailed(f"cannot listen at {path}: {error}") from error
    os.chown(path, user, -1, follow_symlinks=False)
    Path(path).chmod(0o600)
    Path(path).parent.chmod(0o711)  # last: until here nobody else could reach it
    listener.listen()


def _accept(listener: socket.socket, mounted: MountedZramfs) -> socket.socket:
    """Return the connection to the daemon, which has connected before its attribute was written."""
    listener.settimeout(_CONNECT_S)
    try:
        link, _ = listener.accept()
    except TimeoutError as error:
        raise CommandFailed(f"the daemon of {mounted.path} does not connect to us") from error
    try:
        require_daemon(Peer.of(link), mounted)
    except BaseException:
        link.close()
        raise
    return link


def _keep(
    mounted: MountedZramfs,
    mount_fd: int,
    command: Sequence[str],
    link: socket.socket,
    leash_fd: int,
    report_fd: int,
    signal_mask: set[signal.Signals],
) -> int:
    """Run the command in a namespace of its own, and clean up: the keeper's process."""
    with complained_about(), _cleaning_up(mounted, mount_fd) as undo:
        _lock_memory(mounted, leash_fd)
        is_in_vain = partial(errand.hangs, mount_fd)
        keeper = Keeper(mounted.mount.path, mounted.mount.device_number, link, leash_fd, is_in_vain)
        undo.append(keeper.release)
        try:
            return keeper.wait(keeper.start(command, signal_mask, report_fd))
        finally:
            if not keeper.close():
                complain(f"warning: the daemon of {mounted.path} hangs, and with it processes of the command")
    return 1


def _recover(mounted: MountedZramfs, mount_fd: int) -> None:
    """Clean up after a keeper that was killed: its namespace has ended with the processes in it."""
    with _cleaning_up(mounted, mount_fd) as undo:
        undo.append(partial(release_loops, LoopDevices(), mounted.mount.path, mounted.mount.device_number))


@contextmanager
def _cleaning_up(mounted: MountedZramfs, mount_fd: int) -> Iterator[list[Callable[[], None]]]:
    """Undo at the end what is noted meanwhile, unlock the memory, and take away a dead mount.

    Each may have to wait for the daemon. A child that waits for one that hangs does the rest when the daemon answers.
    """
    undo: list[Callable[[], None]] = []
    try:
        yield undo
    finally:
        if not errand.finish(partial(_clean_up, mounted, undo), mount_fd):
            complain(f"warning: the daemon of {mounted.path} hangs: its loop devices are detached when it goes on")


def _clean_up(mounted: MountedZramfs, undo: Sequence[Callable[[], None]]) -> None:
    for step in undo:
        step()
    _unlock_memory(mounted)
    with suppress(MountFailed):  # somebody else does, or has
        take_away_if_dead(mounted.mount.path)


def _lock_memory(mounted: MountedZramfs, leash_fd: int) -> None:
    """Keep the daemon in memory: whatever the command does, it must not be swapped into itself."""
    lock = partial(mounted.set_daemon_attribute, "memory_locked", "1")
    try:
        errand.do(lock, within_s=_LOCK_S, attended={leash_fd})
    except OSError as error:
        click.echo(f"zramfs: warning: the daemon cannot lock its memory ({error.strerror}): do not swap", err=True)


def _unlock_memory(mounted: MountedZramfs) -> None:
    with suppress(OSError, MountFailed):  # the daemon may have ended
        mounted.set_daemon_attribute("memory_locked", "0")
