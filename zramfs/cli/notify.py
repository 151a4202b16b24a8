"""Tells a service manager what becomes of the daemon, by the datagrams of sd_notify(3)."""

import os
import socket
import time
from contextlib import suppress

from zramfs.foreign import printable


def notify(*assignments: str) -> None:
    """Send assignments such as ``READY=1`` to $NOTIFY_SOCKET; nothing where there is none, or nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.sendto("\n".join(printable(each) for each in assignments).encode(), address)


def notify_reloading() -> None:
    """Say that a reload has begun; READY=1 says that it is over."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
