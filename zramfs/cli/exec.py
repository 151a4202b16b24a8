"""`zramfs exec`: a command for which the devices of a mount are the system's zram."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import click

from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.parameters import mountpoint_argument
from zramfs.cli.trust import require_daemon, require_trusted_owner
from zramfs.errors import CommandFailed, DeviceBusy, MountFailed, ZramError
from zramfs.foreign import printable
from zramfs.loop_device import LoopDevices
from zramfs.mountpoint import take_away_if_dead
from zramfs.namespace.front import Front
from zramfs.namespace.keeper import Keeper, release_loops
from zramfs.namespace.protocol import Peer

_CONNECT_S: Final = 10.0


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
    if os.geteuid() != 0:
        raise CommandFailed("exec needs root: it makes loop devices and a mount namespace")
    mounted = MountedZramfs(mountpoint)
    require_trusted_owner(mounted)
    with mounted.held():
        for number in LoopDevices().numbers_over(mounted.mount.device_number):
            raise DeviceBusy(f"a device of {mountpoint} is attached to /dev/loop{number} already: zramfs loop detach")
        with _linked_to_daemon(mounted) as link:
            front = Front(partial(_keep, mounted, words, link), partial(_recover, mounted))
        return front.wait()


@contextmanager
def _linked_to_daemon(mounted: MountedZramfs) -> Iterator[socket.socket]:
    """Let the daemon connect to us, and nobody else."""
    with tempfile.TemporaryDirectory(prefix="zramfs-") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = f"{folder}/keeper"
        _listen(listener, path, require_trusted_owner(mounted))
        try:
            mounted.set_daemon_attribute("keeper", path)
        except OSError as error:
            if error.errno != DeviceBusy.errno:
                raise
            raise DeviceBusy(f"another zramfs exec uses {mounted.path}: process {mounted.keeper_pid}") from error
        link = _accept(listener, mounted)
    with link:
        yield link


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
    command: Sequence[str],
    link: socket.socket,
    leash_fd: int,
    report_fd: int,
    signal_mask: set[signal.Signals],
) -> int:
    """Run the command in a namespace of its own, and clean up: the keeper's process."""
    try:
        with _memory_locked(mounted):
            keeper = Keeper(mounted.mount.path, mounted.mount.device_number, link, leash_fd)
            try:
                return keeper.wait(keeper.start(command, signal_mask, report_fd))
            finally:
                keeper.close()
                _take_away_dead_mount(mounted)
    except ZramError as error:
        _complain(str(error))
    except OSError as error:
        _complain(f"{error.filename or 'exec'}: {error.strerror}")
    return 1


def _complain(line: str) -> None:
    print(f"zramfs: {printable(line)}", file=sys.stderr, flush=True)


def _recover(mounted: MountedZramfs) -> None:
    """Clean up after a keeper that was killed: its namespace has ended with the processes in it."""
    loops = LoopDevices()
    release_loops(loops, loops.numbers_over(mounted.mount.device_number))
    _unlock_memory(mounted)
    _take_away_dead_mount(mounted)


def _take_away_dead_mount(mounted: MountedZramfs) -> None:
    with suppress(MountFailed):  # somebody else does, or has
        take_away_if_dead(mounted.path)


@contextmanager
def _memory_locked(mounted: MountedZramfs) -> Iterator[None]:
    """Keep the daemon in memory: whatever the command does, it must not be swapped into itself."""
    try:
        mounted.set_daemon_attribute("memory_locked", "1")
    except OSError as error:
        click.echo(f"zramfs: warning: the daemon cannot lock its memory ({error.strerror}): do not swap", err=True)
    try:
        yield
    finally:
        _unlock_memory(mounted)


def _unlock_memory(mounted: MountedZramfs) -> None:
    with suppress(OSError):  # the daemon may have ended
        mounted.set_daemon_attribute("memory_locked", "0")
