"""The process that mounts a disk for a program, and ends the mount with the program, however that ends.

It reports by a line of JSON that the mount is made, or why not, and another one when the mount has ended. The program
asks for the end by closing the keeper's standard input. If the program is killed, its pidfd tells so.
"""

import json
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from zramfs.errors import CommandFailed
from zramfs.foreign import is_device_name
from zramfs.loop_device import LoopDevices
from zramfs.mountpoint import find_mount_at
from zramfs.supervise import errand
from zramfs.supervise.remains import unmount_what_is_on
from zramfs.verbs import line_of_error, try_verb

_NOT_OURS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A terminal or a service manager sends them to the program as well, whose end is awaited."""

_DAEMON_END_MS: Final = 15_000
"""SIGTERM ends a daemon within 10 s."""

_FILE_SYSTEMS_END_S: Final = 15.0
"""How long file systems may write what they have not written yet, to a daemon that may be hung."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a verb ended: its exit code, and its line of error, or its warnings."""

    exit_code: int
    text: str


def main(arguments: list[str]) -> int:
    """Mount, await the end, unmount; the exit code is 0 if nobody used the mount any more."""
    program_pid, mountpoint, is_temporary, *options = arguments
    for number in _NOT_OURS:
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the program may ignore it: how verbs end would be lost
    with suppress(ProcessLookupError, BrokenPipeError):
        program_fd = _open_program(int(program_pid))
        report = _mount(Path(mountpoint), options)
        if report.exit_code == 0:
            daemon_pid = daemon_of(Path(mountpoint))
            with suppress(BrokenPipeError):
                _say(report)
                _await_end(program_fd)
            report = end_mount(Path(mountpoint), daemon_pid, _end_file_systems)
        if is_temporary == "1":
            remove(Path(mountpoint))
        _say(report)
        return report.exit_code
    if is_temporary == "1":
        remove(Path(mountpoint))
    return 1


def _open_program(pid: int) -> int:
    """Return the pidfd of the program; ProcessLookupError if it has ended: the pid may be another's by now."""
    program_fd = os.pidfd_open(pid)
    if os.getppid() != pid:
        raise ProcessLookupError
    return program_fd


def _mount(mountpoint: Path, options: list[str]) -> Report:
    result = try_verb("mount", str(mountpoint), *options)
    if result.returncode:
        return Report(result.returncode, line_of_error(result))
    return Report(0, result.stderr)


def daemon_of(mountpoint: Path) -> int:
    """Return the daemon of a mount of ours."""
    return int((mountpoint / "sys/fs/zramfs/pid").read_text())


def _await_end(program_fd: int) -> None:
    """Wait until the program closes our standard input, or ends."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(program_fd, select.POLLIN)
    poll.poll()


def _say(report: Report) -> None:
    print(json.dumps(asdict(report)), flush=True)


def remove(folder: Path) -> None:
    """Remove a temporary folder that was mounted at."""
    with suppress(OSError):  # somebody has put something there meanwhile
        folder.rmdir()


def end_mount(mountpoint: Path, daemon_pid: int, end_file_systems: Callable[[Path], None] | None = None) -> Report:
    """End a mount, also one that is in use; the report then has who used it.

    `end_file_systems` forks, which a program with threads must not.
    """
    first = try_verb("umount", "--if-mounted", str(mountpoint))
    if first.returncode == 0:
        return Report(0, "")
    report = Report(first.returncode, line_of_error(first))
    if end_file_systems is not None:
        end_file_systems(mountpoint)
    _end_uses(mountpoint)
    if try_verb("umount", "--if-mounted", str(mountpoint)).returncode:
        _end_daemon(daemon_pid)
        try_verb("umount", "--lazy", "--if-mounted", str(mountpoint))
    return report


def _end_file_systems(mountpoint: Path) -> None:
    """Unmount what a program has mounted from loop devices over the mount; only root can have."""
    if os.geteuid() == 0:
        with suppress(OSError, CommandFailed):
            errand.do(partial(_unmount_file_systems, mountpoint), within_s=_FILE_SYSTEMS_END_S)


def _unmount_file_systems(mountpoint: Path) -> None:
    mount = find_mount_at(mountpoint)
    if mount is not None:
        unmount_what_is_on(LoopDevices(), mount.path, mount.device_number)


def _end_uses(mountpoint: Path) -> None:
    """End swap on the devices, and loop devices over them, that a program has left."""
    with suppress(OSError):
        for name in filter(is_device_name, [entry.name for entry in mountpoint.iterdir()]):
            try_verb("swap", "off", str(mountpoint), "--device", name)
            try_verb("loop", "detach", str(mountpoint), "--device", name)


def _end_daemon(pid: int) -> None:
    """End the daemon, which unmounts; one that is stopped is killed."""
    try:
        daemon_fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(daemon_fd, select.POLLIN)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(daemon_fd, number)
        if poll.poll(_DAEMON_END_MS):
            break
    os.close(daemon_fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
