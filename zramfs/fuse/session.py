"""The life of a mount: from pyfuse3's set-up to the unmount, whoever asks for it."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

import pyfuse3
import trio

from zramfs.errors import MountFailed
from zramfs.fuse.filesystem import ZramFilesystem
from zramfs.fuse.mountpoint import unmount
from zramfs.fuse.reader import PollingTrio

_log: Final = logging.getLogger(__name__)

_MAX_TASKS: Final = 512
"""Requests in the works at once; above the accelerator's default queue depth, so that the queue can fill."""


async def serve(filesystem: ZramFilesystem, mountpoint: Path, *, allow_other: bool, busy_poll_us: int) -> None:
    """Mount, answer requests until somebody unmounts or a signal asks for it, and leave no mount behind.

    `busy_poll_us` is how long to poll for the next request before sleeping; 0 leaves the waiting to trio.
    """
    options = {"fsname=zramfs", "subtype=zramfs", "auto_unmount", "default_permissions"}
    if allow_other:
        options.add("allow_other")
    with _words_of_libfuse() as last_words:
        try:
            pyfuse3.init(filesystem, str(mountpoint), options)
        except RuntimeError as error:
            raise MountFailed(f"cannot mount at {mountpoint}: {last_words() or error}") from error
    reader = PollingTrio(busy_poll_us)
    if busy_poll_us:
        pyfuse3.trio = reader  # type: ignore[attr-defined]
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_unmount_on_signal, mountpoint, reader)
            await pyfuse3.main(max_tasks=_MAX_TASKS)
            nursery.cancel_scope.cancel()
    finally:
        pyfuse3.close(unmount=True)


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
