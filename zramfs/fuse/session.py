"""The life of a mount: from pyfuse3's set-up to the unmount, whoever asks for it."""

import errno
import logging
import os
import select
import stat
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pyfuse3
import trio

from zramfs.errors import MountFailed
from zramfs.fuse import companion
from zramfs.fuse.ending import end_mount
from zramfs.fuse.filesystem import ZramFilesystem
from zramfs.mountpoint import Mount, find_mount_at, is_still_there
from zramfs.receive.handover import Handover
from zramfs.receive.receivers import Receivers
from zramfs.unmounting import take_away

_log: Final = logging.getLogger(__name__)

_MOST_TASKS: Final = (1 << 31) - 1
"""A task for each request whose handler waits: a request that waits must never keep another from being read."""


_SETTLE_S: Final = 0.001

_LOOK_FOR_END_S: Final = 0.5
"""How often pyfuse3's own session is asked whether the kernel has given it up; receivers are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Who else may use the mount."""

    allow_other: bool


async def serve(
    filesystem: ZramFilesystem,
    receivers: Receivers,
    mountpoint: Path,
    options: SessionOptions,
    endings: AsyncIterable[str],
) -> None:
    """Mount, answer requests until somebody unmounts or asks for the end, and leave no mount behind.

    `mountpoint` is resolved already. `endings` gives the name of each signal that asks for the end.
    """
    handover = _expect_session(filesystem, receivers)
    mount = _mount(filesystem, mountpoint, allow_other=options.allow_other)
    filesystem.own_mount.device = mount.device_number
    answering = trio.CancelScope()
    end = partial(end_mount, mount, filesystem, stop_receiving=receivers.stop, answering=answering)
    try:
        with _taken_over(handover) as dev_fd:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_on_signal, endings, end)
                nursery.start_soon(filesystem.announcements.serve)
                with answering:
                    await _answer_requests(filesystem, receivers, handover, dev_fd, mount)
                nursery.cancel_scope.cancel()
    finally:
        pyfuse3.close(unmount=is_still_there(mount))


def _expect_session(filesystem: ZramFilesystem, receivers: Receivers) -> Handover | None:
    """Prepare for taking pyfuse3's session over; None if that cannot be, and it receives everything itself."""
    if companion.interposed is None:
        _log.warning("no companion: %s", companion.missing_reason)
        return None
    handover = receivers.handover(
        direct_writes_are_parallel=companion.direct_writes_are_parallel(os.uname().release),
        session_ended=filesystem.let_nobody_wait,
    )
    companion.interposed.expect_session(handover, filesystem.seek)
    return handover


@contextmanager
def _taken_over(handover: Handover | None) -> Iterator[int]:
    """Have the descriptor of /dev/fuse, for receivers and notifications; -1 where pyfuse3 keeps it."""
    if companion.interposed is None or handover is None:
        yield -1
        return
    try:
        dev_fd: int = companion.interposed.take_over()
    except OSError as error:
        raise MountFailed(f"pyfuse3's session cannot be taken over: {error.strerror}") from error
    try:
        yield dev_fd
    finally:
        companion.interposed.give_back()


async def _answer_requests(
    filesystem: ZramFilesystem, receivers: Receivers, handover: Handover | None, dev_fd: int, mount: Mount
) -> None:
    """Return when every request that arrived has its answer, and the session has ended."""
    if handover is None:
        await _answer_without_receivers(filesystem)
        return
    try:
        receivers.start(handover, dev_fd)
        await pyfuse3.main(max_tasks=_MOST_TASKS)
    finally:
        receivers.stop()
        with trio.CancelScope(shield=True):
            await _settle(receivers)
        take_away(mount)
        receivers.close()


async def _answer_without_receivers(filesystem: ZramFilesystem) -> None:
    """Let pyfuse3 receive requests, and answer them on the event loop."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_note_end, filesystem)
        await pyfuse3.main(max_tasks=_MOST_TASKS)
        nursery.cancel_scope.cancel()


async def _note_end(filesystem: ZramFilesystem) -> None:
    """Let nobody wait once the kernel has given the session up: pyfuse3's handlers would keep it from ending."""
    device = select.poll()
    device.register(next(fd for fd in _open_fds() if _path_of(fd) == "/dev/fuse"), 0)
    while not device.poll(0):  # noqa: ASYNC110 - POLLERR, not connected any more (fuse_dev_poll), is all that tells
        await trio.sleep(_LOOK_FOR_END_S)
    filesystem.let_nobody_wait()


async def _settle(receivers: Receivers) -> None:
    """Return when nothing is in flight. It looks again and again, because an event would cost each request."""
    while receivers.in_flight:
        if receivers.work_off():
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(_SETTLE_S)


def _mount(filesystem: ZramFilesystem, mountpoint: Path, *, allow_other: bool) -> Mount:
    options = {"fsname=zramfs", "subtype=zramfs", "auto_unmount", "default_permissions"}
    if allow_other:
        options.add("allow_other")
    with _words_of_libfuse() as last_words, _fusermount_told_last():
        try:
            pyfuse3.init(filesystem, str(mountpoint), options)
        except RuntimeError as error:
            raise MountFailed(f"cannot mount at {mountpoint}: {_with_remedy(last_words() or str(error))}") from error
    mount = find_mount_at(mountpoint)
    if mount is None:
        raise MountFailed(f"{mountpoint} was unmounted as soon as it was mounted")
    return mount


def _with_remedy(reason: str) -> str:
    """Say what lets mount(2) succeed where it is not permitted."""
    is_remediable = reason.endswith(os.strerror(errno.EPERM))
    return f"{reason}: that needs CAP_SYS_ADMIN (a container: --cap-add SYS_ADMIN)" if is_remediable else reason


async def _end_on_signal(endings: AsyncIterable[str], end: Callable[[], Awaitable[None]]) -> None:
    """End the mount at the first signal that asks for it."""
    async for name in endings:
        _log.info("%s: unmounting", name)
        await end()


@contextmanager
def _fusermount_told_last() -> Iterator[None]:
    """Give the socket whose end tells fusermount3 of ours a smaller number than /dev/fuse; both are opened meanwhile.

    The files of a process that is killed are closed from the largest number down (task_work_run). With the socket
    closed first, fusermount3 looks at the mount while the kernel has yet to give the connection up, meets ECONNABORTED
    where it expects ENOTCONN, and leaves a dead mount behind: 15 times of 30 on a busy machine.
    """
    small_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    before = _open_fds()
    yield
    for fd in _open_fds() - before:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.dup2(fd, small_fd, inheritable=False)
            os.close(fd)
            return
    os.close(small_fd)


def _open_fds() -> set[int]:
    with os.scandir("/proc/self/fd") as entries:
        fds = {int(entry.name) for entry in entries}
    return {fd for fd in fds if Path(f"/proc/self/fd/{fd}").exists()}  # without that of the listing


def _path_of(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


@contextmanager
def _words_of_libfuse() -> Iterator[Callable[[], str]]:
    """Keep what libfuse and fusermount3 print to stderr, for the one line of the error."""
    saved = os.dup(2)
    with os.fdopen(os.memfd_create("libfuse"), "w+b") as captured:
        os.dup2(captured.fileno(), 2)

        def last_words() -> str:
            captured.seek(0)
            lines = captured.read().decode(errors="replace").strip().splitlines()
            return lines[-1] if lines else ""

        try:
            yield last_words
        finally:
            os.dup2(saved, 2)
            os.close(saved)
