"""`zramfs run`: a mount that lives exactly as long as a command.

The front, which the user started, has a keeper run the command, and the keeper starts the daemon. Each of the three
outlives the SIGKILL of the others, and takes away what those would have: front and keeper end the command and its
processes, which are below them; the daemon ends with the keeper, and finds the processes by their environment.
"""

import os
import secrets
import select
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from zramfs import kernel
from zramfs.cli import daemon
from zramfs.cli.complaints import complain, complained_about
from zramfs.cli.daemonize import DaemonProcess, start_daemon
from zramfs.cli.log import open_log
from zramfs.cli.mount import make_request, mount_options, serve_mount
from zramfs.cli.parent import Parent
from zramfs.cli.signals import DaemonSignals
from zramfs.cli.terminal_log import QuietLog
from zramfs.errors import CommandFailed, MountFailed
from zramfs.loop_device import LoopDevices
from zramfs.mountable import require_fuse
from zramfs.mountpoint import find_mount_at
from zramfs.supervise import errand, processes
from zramfs.supervise.front import Front
from zramfs.supervise.remains import name_users, release_loops, unmount_what_is_on
from zramfs.unmounting import unmount

_DEATH_SHOWS_S: Final = 0.1
_DAEMON_END_S: Final = 12.0
"""How long a daemon may take for its end: a signal ends it within 10 s."""

_FOLDER_VARIABLE: Final = "ZRAMFS_DIR"


@click.command(
    "run",
    short_help="Run a command with a mount of its own.",
    context_settings={"allow_interspersed_args": False},
)
@mount_options
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def run(command: tuple[str, ...], log_to: str | None, **options: Any) -> int:
    """Run COMMAND with a mount that ends with it.

    COMMAND finds the mount point, a private directory, in $ZRAMFS_DIR, and the first block file in $ZRAMFS_FILE.
    Nothing is left behind: processes of COMMAND that still run when it ends are ended, and so is the mount. The exit
    code is COMMAND's; 126 or 127 if it cannot be run; 128 and the number of the signal that ended it.

    For example: zramfs run --size 1G -- sh -c 'mkfs.ext4 -q $ZRAMFS_FILE'
    """
    require_fuse()
    place = Path(tempfile.gettempdir()).resolve() / f"zramfs-{secrets.token_hex(8)}"
    request = make_request(place, **options)
    front = Front(partial(_keep, request, log_to, command), partial(_take_away, place), lambda: True)
    return front.wait()


# ---- the keeper -----------------------------------------------------------------------------------------------------


def _keep(
    request: daemon.MountRequest,
    log_to: str | None,
    command: Sequence[str],
    leash_fd: int,
    report_fd: int,
    signal_mask: set[signal.Signals],
) -> int:
    """Run the command beside its mount: the keeper's process."""
    kernel.adopt_orphans()
    place = request.mountpoint
    with complained_about(), _folder(place), _mounted(request, log_to, leash_fd) as serving:
        environment = os.environ | {_FOLDER_VARIABLE: str(place), "ZRAMFS_FILE": str(place / "zram0")}
        pid = processes.start(command, environment, signal_mask, report_fd)
        os.setsid()
        return _await_end(pid, leash_fd, serving)
    return 1


@contextmanager
def _folder(place: Path) -> Iterator[None]:
    """Have a folder of our own, with nothing left of it at the end."""
    try:
        place.mkdir(mode=0o700)
    except OSError as error:
        raise CommandFailed(f"cannot make {place}: {error.strerror}") from error
    try:
        yield
    finally:
        _take_away(place)


@contextmanager
def _mounted(request: daemon.MountRequest, log_to: str | None, leash_fd: int) -> Iterator[DaemonProcess]:
    """Have the mount made by a daemon, and ended after everything of the command."""
    log = QuietLog() if log_to is None else open_log(log_to, request.mountpoint, is_foreground=True)
    signals = DaemonSignals(log)
    keeper = Parent(os.getpid())  # opened before the fork, and by no number that could be another's by then
    serve = partial(_serve, partial(serve_mount, request, log, signals, parent=keeper), keeper, request.mountpoint)
    serving = start_daemon(serve, log, signals, kept_fds=[*request.kept_fds, keeper.fd])
    try:
        serving.await_ready({leash_fd})
        yield serving
    finally:
        _end_command(request.mountpoint, serving)
        _end_daemon(serving)


def _serve(
    serve: Callable[[Callable[[], None]], None], keeper: Parent, place: Path, on_ready: Callable[[], None]
) -> None:
    """Be the daemon; end the command's processes, and remove the folder, if nobody else does.

    They are not below us. But nobody else has the folder's random name in the environment.
    """
    try:
        serve(on_ready)
    finally:
        if keeper.has_ended:
            processes.end_marked(f"{_FOLDER_VARIABLE}={place}")
            _take_away(place)


def _await_end(pid: int, leash_fd: int, serving: DaemonProcess) -> int:
    """Return the command's exit code when it has ended, or the leash is let go; CommandFailed if the daemon dies.

    A command that meets the end of its mount may end, and fail, before the daemon's process has ended.
    """
    poll = select.poll()
    command_fd = os.pidfd_open(pid)
    for fd in (command_fd, leash_fd, serving.fd):
        poll.register(fd, select.POLLIN)
    while True:
        readable = {fd for fd, _ in poll.poll()}
        if command_fd in readable:
            code = processes.exit_code(os.waitpid(pid, 0)[1])
            if serving.has_ended(within_s=_DEATH_SHOWS_S if code else 0) and not serving.ended_well():
                raise CommandFailed(f"the daemon of the mount has died; the command has ended with {code}")
            return code
        if leash_fd in readable:
            return 128 + signal.SIGKILL
        if not serving.ended_well():
            raise CommandFailed("the daemon of the mount has died, and the command is ended with it")
        poll.unregister(serving.fd)  # the command has unmounted it


# ---- the end --------------------------------------------------------------------------------------------------------


def _end_command(place: Path, serving: DaemonProcess) -> None:
    """End what is left of the command, and say so if it used the mount."""
    if users := name_users(place):
        complain(f"warning: the command has left processes that use the mount, which ends: {users}")
    if not processes.end_descendants(partial(_kill_once, serving), spared={serving.pid}):
        complain("warning: processes of the command are still there: no signal of ours ends them")
    mount = find_mount_at(place)
    if os.geteuid() == 0 and mount is not None:
        with suppress(OSError):
            root_fd = os.open(place, os.O_PATH | os.O_CLOEXEC)
            errand.finish(partial(_release_loops, place), root_fd)
            os.close(root_fd)


def _kill_once(serving: DaemonProcess) -> bool:
    """Kill the daemon, for whose answer processes may wait; whether that was in vain."""
    if serving.has_ended():
        return True
    serving.send(signal.SIGKILL)
    return False


def _end_daemon(serving: DaemonProcess) -> None:
    """Have the daemon unmount, and take the mount from those who still use it."""
    serving.send(signal.SIGTERM)
    if not serving.has_ended(within_s=_DAEMON_END_S):
        serving.send(signal.SIGKILL)


def _take_away(place: Path) -> None:
    """End all that is left below us, the daemon as well, then the mount, then the folder.

    In this order: a fusermount3 that a killed daemon has left may be about to mount.
    """
    processes.end_descendants(lambda: True)
    if os.geteuid() == 0:
        with suppress(OSError, CommandFailed):
            errand.do(partial(_release_loops, place), within_s=_DAEMON_END_S)
    try:
        while mount := find_mount_at(place):
            unmount(mount, lazily=True)
    except MountFailed as error:
        complain(str(error))
        return
    shutil.rmtree(place, ignore_errors=True)


def _release_loops(place: Path) -> None:
    """Unmount, and detach, what the command has left on loop devices over the mount, which may have gone."""
    mount = find_mount_at(place)
    device = mount.device_number if mount else 0
    loops = LoopDevices()
    unmount_what_is_on(loops, place, device)
    release_loops(loops, place, device)
