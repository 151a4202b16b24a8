"""The life of a mount: from pyfuse3's set-up to the unmount, whoever asks for it."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

import pyfuse3
import trio

from zramfs.errors import MountFailed
from zramfs.fuse import companion
from zramfs.fuse.filesystem import ZramFilesystem
from zramfs.fuse.mountpoint import unmount
from zramfs.fuse.reader import PollingTrio

_log: Final = logging.getLogger(__name__)

_FOREGROUND_TASKS: Final = 64
"""Requests in the works besides the background ones: what somebody waits for must not wait for a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """`busy_poll_us`: how long to poll for the next request before sleeping; 0 leaves the waiting to trio.

    `background` is how many asynchronous requests the kernel hands over at a time, if the companion is there to ask
    for it; as many as the accelerator's queue takes.
    """

    allow_other: bool
    busy_poll_us: int
    background: int


async def serve(filesystem: ZramFilesystem, mountpoint: Path, options: SessionOptions) -> None:
    """Mount, answer requests until somebody unmounts or a signal asks for it, and leave no mount behind."""
    if companion.hooks is not None:
        companion.hooks.complete_sessions(options.background)
    else:
        _log.warning("no companion: %s", companion.missing_reason)
    _mount(filesystem, mountpoint, allow_other=options.allow_other)
    reader = PollingTrio(options.busy_poll_us)
    if options.busy_poll_us:
        pyfuse3.trio = reader  # type: ignore[attr-defined]
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_unmount_on_signal, mountpoint, reader)
            await _answer_requests(filesystem, max_tasks=options.background + _FOREGROUND_TASKS)
            nursery.cancel_scope.cancel()
    finally:
        pyfuse3.close(unmount=True)


async def _answer_requests(filesystem: ZramFilesystem, *, max_tasks: int) -> None:
    """Return when the session has ended and every request that arrived has its answer."""
    async with trio.open_nursery() as nursery:
        if companion.hooks is not None:
            companion.hooks.connect(partial(filesystem.answer_fallocate, nursery), filesystem.answer_lseek)
        await pyfuse3.main(max_tasks=max_tasks)


def _mount(filesystem: ZramFilesystem, mountpoint: Path, *, allow_other: bool) -> None:
    options = {"fsname=zramfs", "subtype=zramfs", "auto_unmount", "default_permissions"}
    if allow_other:
        options.add("allow_other")
    with _words_of_libfuse() as last_words:
        try:
            pyfuse3.init(filesystem, str(mountpoint), options)
        except RuntimeError as error:
            raise MountFailed(f"cannot mount at {mountpoint}: {last_words() or error}") from error


async def _unmount_on_signal(mountpoint: Path, reader: PollingTrio) -> None:
    """At SIGTERM or SIGINT unmount, so that dirty pages of mmap reach us first; if it is busy, end it all the same.

    Either way every request that has arrived is answered before the loop ends.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            _log.info("%s: unmounting", signal.Signals(number).name)
            try:
                await trio.to_thread.run_sync(unmount, mountpoint)
            except MountFailed as error:
                _log.warning("%s; it is taken away from its users", error)
                await trio.to_thread.run_sync(pyfuse3.syncfs, str(mountpoint))
                reader.close()
                pyfuse3.terminate()


@contextmanager
def _words_of_libfuse() -> Iterator[Callable[[], str]]:
    """Keep what libfuse and fusermount3 print to stderr, for the one line of the error; log it all otherwise."""
    saved = os.dup(2)
    with TemporaryFile() as captured:
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
