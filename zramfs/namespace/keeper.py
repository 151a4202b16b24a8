"""The process that keeps a namespace: makes it, follows what becomes of the devices, and takes everything away again.

It is the command's parent, in a session of its own, so that neither the terminal nor the command's signals reach it.
"""

import errno
import os
import select
import signal
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from zramfs.errors import CommandFailed, DeviceBusy, ZramError
from zramfs.loop_device import MAJOR, LoopDevices, discard_swap_area
from zramfs.namespace import kernel, processes
from zramfs.namespace.mounts import OutsideMounts
from zramfs.namespace.protocol import READY
from zramfs.namespace.view import DeviceView

_MOST_BYTES: Final = 4096


class Keeper:
    """Serves the daemon at the other end of `link` with loop devices over the files of its mount.

    `leash_fd` is the end of a pipe whose other end somebody holds for as long as the command may live.
    """

    def __init__(self, mountpoint: Path, link: socket.socket, leash_fd: int) -> None:
        self._mountpoint = mountpoint
        self._link = link
        self._leash_fd = leash_fd
        self._mount_fd = os.open(mountpoint, os.O_PATH | os.O_CLOEXEC)  # outside: what is in use there is not unmounted
        self._device = os.fstat(self._mount_fd).st_dev
        self._outside_fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        dev_fd = os.open("/dev", os.O_PATH | os.O_CLOEXEC)  # the view hides the loop devices that are ours
        self._loops = LoopDevices(Path(f"/proc/self/fd/{dev_fd}"))
        self._numbers: dict[str, int] = {}
        self._bound: set[int] = set()
        self._unread = b""
        self._refusal = ""
        self._outside_mounts = OutsideMounts()
        kernel.adopt_orphans()
        kernel.enter_new_mount_namespace()
        self._view = DeviceView(mountpoint)

    def start(self, command: Sequence[str], signal_mask: set[signal.Signals], report_fd: int) -> int:
        """Start the command as soon as all devices are there; its process id."""
        is_ready = False
        while not is_ready:
            readable, _, _ = select.select([self._link.fileno(), self._leash_fd], [], [])
            if self._leash_fd in readable:
                raise CommandFailed("interrupted before the command began")
            is_ready = self._answer_requests()
        pid = processes.start(command, signal_mask, report_fd)
        os.setsid()
        return pid

    def wait(self, pid: int) -> int:
        """Follow the daemon until the command ends, or the leash is let go; the exit code."""
        poll = select.poll()
        command_fd = os.pidfd_open(pid)
        for fd in (command_fd, self._leash_fd, self._link.fileno(), *self._view.servers):
            poll.register(fd, select.POLLIN)
        poll.register(self._outside_mounts, select.POLLPRI)
        while True:
            readable = {fd for fd, _ in poll.poll()}
            if command_fd in readable:
                return processes.exit_code(os.waitpid(pid, 0)[1])
            if self._leash_fd in readable:
                return 128 + signal.SIGKILL
            if not readable.isdisjoint(self._view.servers):
                raise CommandFailed("a process that serves /dev has ended")
            if self._outside_mounts.fileno() in readable:
                self._outside_mounts.follow(spared=f"{os.major(self._device)}:{os.minor(self._device)}")
            if self._link.fileno() not in readable:
                continue
            try:
                self._answer_requests()
            except CommandFailed:
                poll.unregister(self._link.fileno())  # the command sees by itself that its devices are gone

    def close(self) -> None:
        """End the command, all its processes, and what they have left: mounts, swap, loop devices over our files.

        The link first: a process that waits for an answer of the daemon could not end, while the daemon waits for ours.
        """
        self._link.close()
        processes.end_descendants()
        kernel.enter_mount_namespace(self._outside_fd)  # the last one that leaves takes the mounts with it
        release_loops(self._loops, self._bound.union(self._loops.numbers_over(self._device)))

    # ---- the daemon's requests -----------------------------------------------------------------------------------

    def _answer_requests(self) -> bool:
        """Do what the daemon asks for; True once it has said that these were all. CommandFailed when it has ended."""
        is_ready = False
        try:
            received = self._link.recv(_MOST_BYTES)
            *lines, self._unread = (self._unread + received).split(b"\n")
            for line in lines:
                verb, _, name = line.decode().partition(" ")
                is_ready = is_ready or verb == READY
                self._link.sendall(f"{self._answer(verb, name)}\n".encode())
        except ConnectionError:  # it has not waited for us
            received = b""
        if not received:
            raise CommandFailed(self._refusal or f"the daemon of {self._mountpoint} has ended")
        return is_ready

    def _answer(self, verb: str, name: str) -> str:
        try:
            if verb == "attach":
                return f"0 {self._attach(name)}"
            if verb == "detach":
                self._detach(name)
            elif verb == "forget":
                self._view.hide(name, self._numbers.pop(name))
        except (ZramError, OSError) as error:
            self._refusal = str(error)
            return f"{error.errno or errno.EIO} {error}"
        return "0"

    def _attach(self, name: str) -> str:
        file_fd = os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=self._mount_fd)
        try:
            before = self._numbers.get(name)
            number = self._loops.attach(file_fd, str(self._mountpoint / name), prefer=before)
        finally:
            os.close(file_fd)
        self._bound.add(number)
        if number != before:
            if before is not None:
                self._view.hide(name, before)
            self._numbers[name] = number
            self._view.show(name, number)
        return f"{MAJOR}:{number}"

    def _detach(self, name: str) -> None:
        number = self._numbers[name]
        if not self._loops.detach(number):
            raise DeviceBusy(f"{name} is in use")
        self._bound.discard(number)


def release_loops(loops: LoopDevices, numbers: Iterable[int]) -> None:
    """Detach loop devices, and end the swap on them before: nobody needs what it has left there."""
    for number in numbers:
        with suppress(OSError):  # EINVAL: no swap there
            kernel.swapoff(loops.path(number))
            discard_swap_area(loops.path(number))
        loops.detach_when_unused(number)
