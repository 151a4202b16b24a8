"""The process that keeps a namespace: makes it, follows what becomes of the devices, and takes everything away again.

It is the command's parent, in a session of its own, so that neither the terminal nor the command's signals reach it.
"""

import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from zramfs import kernel
from zramfs.errors import CommandFailed
from zramfs.loop_device import LoopDevices
from zramfs.mountinfo import device_name
from zramfs.namespace.attachments import Attachments
from zramfs.namespace.attendant import Attendant
from zramfs.namespace.mounts import OutsideMounts
from zramfs.namespace.service import Service
from zramfs.namespace.view import DeviceView, open_mount
from zramfs.supervise import processes
from zramfs.supervise.remains import release_loops

_SYSFS_IS_NOT_VERIFIED: Final = {"SYSTEMD_DEVICE_VERIFY_SYSFS": "0"}
"""libudev and sd-device take a device's folder for one only if it is sysfs, and no other file system can say so."""

_SILENCE_S: Final = 30.0
"""How long a daemon may ask for nothing before the command has begun."""


class Keeper:
    """Serves the daemon at the other end of `link` with loop devices over the files of its mount.

    `device` is the st_dev of the mount; MountFailed if it is no longer there. `leash_fd` is the end of a pipe whose
    other end somebody holds for as long as the command may live. `is_in_vain` says whether processes are waited for
    that cannot end, because the daemon hangs.
    """

    def __init__(
        self, mountpoint: Path, device: int, link: socket.socket, leash_fd: int, is_in_vain: Callable[[], bool]
    ) -> None:
        self._is_in_vain = is_in_vain
        self._mountpoint = mountpoint
        self._device = device
        self._link = link
        self._leash_fd = leash_fd
        mount_fd = open_mount(mountpoint, device)  # outside: what is in use there is not unmounted
        self._outside_fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        dev_fd = os.open("/dev", os.O_PATH | os.O_CLOEXEC)  # the view hides the loop devices that are ours
        self._loops = LoopDevices(Path(f"/proc/self/fd/{dev_fd}"))
        self._outside_mounts = OutsideMounts()
        kernel.adopt_orphans()
        kernel.enter_new_mount_namespace()
        self._view = DeviceView(mountpoint, device)
        attachments = Attachments(mount_fd, mountpoint, self._loops, self._view)
        self._attendant = Attendant(attachments.answer, {mount_fd, dev_fd, *self._view.fds()})
        self._attendant.attended.add(leash_fd)
        self._service = Service(link, self._attendant, mountpoint)

    def start(self, command: Sequence[str], signal_mask: set[signal.Signals], report_fd: int) -> int:
        """Start the command as soon as all devices are there; its process id."""
        is_ready = False
        while not is_ready:
            readable, _, _ = select.select([self._link.fileno(), self._leash_fd], [], [], _SILENCE_S)
            if self._leash_fd in readable:
                raise CommandFailed("interrupted before the command began")
            if not readable:
                raise CommandFailed(f"the daemon of {self._mountpoint} does not ask for block devices")
            is_ready = self._service.answer()
        pid = processes.start(command, _SYSFS_IS_NOT_VERIFIED | os.environ, signal_mask, report_fd)
        os.setsid()
        return pid

    def wait(self, pid: int) -> int:
        """Follow the daemon until the command ends, or the leash is let go; the exit code."""
        poll = select.poll()
        command_fd = os.pidfd_open(pid)
        self._attendant.attended.add(command_fd)
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
                self._outside_mounts.follow(spared=device_name(self._device))
            if self._link.fileno() not in readable:
                continue
            try:
                self._service.answer()
            except CommandFailed as error:
                poll.unregister(self._link.fileno())
                self._service.end(error)

    def close(self) -> bool:
        """End the command and all its processes, and leave the namespace with its mounts; False if some do not end.

        The link first: a process that waits for an answer of the daemon could not end, while the daemon waits for ours.
        """
        with suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()
        self._attendant.close()
        is_all = processes.end_descendants(lambda: self._attendant.is_hung or self._is_in_vain())
        kernel.enter_mount_namespace(self._outside_fd)  # the last one that leaves takes the mounts with it
        return is_all

    def release(self) -> None:
        """End what the command has left on loop devices over our files, and detach them. The daemon may be asked."""
        release_loops(self._loops, self._mountpoint, self._device, self._attendant.bound)
