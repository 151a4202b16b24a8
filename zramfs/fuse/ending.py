"""Ends a mount at a signal, within 10 s, whatever is in flight and whoever holds what.

Requests are answered for as long as anything here waits: a notification under way waits for a look-up, and unmounting
for what mmap has left dirty. Whoever still has the mount in use then meets ENOTCONN.
"""

import faulthandler
import logging
from collections.abc import Callable
from typing import Final

import pyfuse3
import trio

from zramfs.errors import MountFailed
from zramfs.fuse.filesystem import ZramFilesystem
from zramfs.mountpoint import Mount, is_still_there
from zramfs.unmounting import unmount

_log: Final = logging.getLogger(__name__)

_UNMOUNT_S: Final = 3.0
"""How long unmounting may take; it waits for writes of dirty pages."""

_NOTIFICATION_S: Final = 3.0
"""How long the notification under way may take: it waits for look-ups, which are answered in milliseconds."""

_ANSWERS_S: Final = 1.0
"""How long requests that have arrived may take for their answers; none of them waits for a device any more."""

_LAST_RESORT_S: Final = 9.0
"""When the process exits in any case: the sum of the above, and 2 s for the rest."""


async def end_mount(
    mount: Mount, filesystem: ZramFilesystem, *, stop_receiving: Callable[[], None], answering: trio.CancelScope
) -> None:
    """Unmount; if that cannot be, because it is in use for instance, end the session all the same.

    `stop_receiving` lets no more requests in, `answering` is the scope of their handlers.
    """
    faulthandler.dump_traceback_later(_LAST_RESORT_S, exit=True)
    filesystem.interrupt_devices()
    is_unmounted = await _unmount_as_a_user_would(mount)
    filesystem.abandon_devices()
    if is_unmounted:
        await trio.sleep(_ANSWERS_S)  # the kernel ends the session, and this; not if another namespace has the mount
    with trio.move_on_after(_NOTIFICATION_S):
        await filesystem.announcements.close()
    stop_receiving()
    pyfuse3.terminate()
    await trio.sleep(_ANSWERS_S)
    answering.cancel()


async def _unmount_as_a_user_would(mount: Mount) -> bool:
    """Unmount, after the kernel has written back what mmap has left dirty. False if it is in use, or does not end."""
    is_unmounted = False
    with trio.move_on_after(_UNMOUNT_S) as scope:
        is_unmounted = await trio.to_thread.run_sync(
            _try_to_unmount, mount, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
        )
    if scope.cancelled_caught:
        _log.warning("unmounting takes too long; the mount is taken away from its users")
    return is_unmounted


def _try_to_unmount(mount: Mount) -> bool:
    if not is_still_there(mount):
        return False
    try:
        unmount(mount)
    except MountFailed as error:
        _log.warning("%s; it is taken away from its users", error)
        return False
    return True
