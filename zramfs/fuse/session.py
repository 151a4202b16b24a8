"""The life of a mount: from pyfuse3's set-up to the unmount, whoever asks for it."""

import logging
import os
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
from zramfs.fuse.answers import CompanionAnswers
from zramfs.fuse.ending import end_mount, is_still_there
from zramfs.fuse.filesystem import ZramFilesystem
from zramfs.fuse.reader import PollingTrio
from zramfs.mountpoint import Mount, find_mount_at

_log: Final = logging.getLogger(__name__)

_MOST_TASKS: Final = (1 << 31) - 1
"""A task for each request whose handler waits: a request that waits must never keep another from being read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """`busy_poll_us`: how long to poll for the next request before sleeping; 0 leaves the waiting to trio.

    `background` is how many asynchronous requests the kernel hands over at a time, if the companion is there to ask
    for it; as many as the accelerator's queue takes.
    """

    allow_other: bool
    busy_poll_us: int
    background: int


async def serve(
    filesystem: ZramFilesystem, mountpoint: Path, options: SessionOptions, endings: AsyncIterable[str]
) -> None:
    """Mount, answer requests until somebody unmounts or asks for the end, and leave no mount behind.

    `mountpoint` is resolved already. `endings` gives the name of each signal that asks for the end.
    """
    if companion.hooks is not None:
        companion.hooks.complete_sessions(options.background, companion.direct_writes_are_parallel(os.uname().release))
    else:
        _log.warning("no companion: %s", companion.missing_reason)
    mount = _mount(filesystem, mountpoint, allow_other=options.allow_other)
    filesystem.own_mount.device = mount.device_number
    reader = PollingTrio(
        options.busy_poll_us,
        answer_some=companion.hooks.answer_some if companion.hooks else None,
        help_devices=filesystem.help_devices,
        session_ended=filesystem.let_nobody_wait,
    )
    pyfuse3.trio = reader  # type: ignore[attr-defined]
    answering = trio.CancelScope()
    end = partial(end_mount, mount, filesystem, stop_reading=reader.close, answering=answering)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_on_signal, endings, end)
            nursery.start_soon(filesystem.announcements.serve)
            with answering:
                await _answer_requests(filesystem)
            nursery.cancel_scope.cancel()
    finally:
        pyfuse3.close(unmount=is_still_there(mount))


async def _answer_requests(filesystem: ZramFilesystem) -> None:
    """Return when the session has ended and every request that arrived has its answer."""
    try:
        async with trio.open_nursery() as nursery:
            if companion.hooks is not None:
                companion.hooks.connect(_answers(filesystem, nursery))
            await pyfuse3.main(max_tasks=_MOST_TASKS)
    finally:
        with trio.CancelScope(shield=True):
            await filesystem.settle()


def _answers(filesystem: ZramFilesystem, nursery: trio.Nursery) -> CompanionAnswers:
    return CompanionAnswers(
        filesystem.open_files, filesystem.request_memory, nursery, session_ended=filesystem.let_nobody_wait
    )


def _mount(filesystem: ZramFilesystem, mountpoint: Path, *, allow_other: bool) -> Mount:
    options = {"fsname=zramfs", "subtype=zramfs", "auto_unmount", "default_permissions"}
    if allow_other:
        options.add("allow_other")
    with _words_of_libfuse() as last_words, _fusermount_told_last():
        try:
            pyfuse3.init(filesystem, str(mountpoint), options)
        except RuntimeError as error:
            raise MountFailed(f"cannot mount at {mountpoint}: {last_words() or error}") from error
    mount = find_mount_at(mountpoint)
    if mount is None:
        raise MountFailed(f"{mountpoint} was unmounted as soon as it was mounted")
    return mount


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
