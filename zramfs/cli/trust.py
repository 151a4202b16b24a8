"""Whom a verb trusts before it gives a mount more than its owner has: loop devices, swap, root's commands.

Whoever serves a FUSE mount decides what its files are, and may let others see it. So the mount must be root's, or that
of the user who calls the verb, also by sudo.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from zramfs.cli.asking import ask_living
from zramfs.cli.mounted import MountedZramfs
from zramfs.errors import CommandFailed
from zramfs.namespace.protocol import Peer

_ROOT: Final = 0
_PROC: Final = Path("/proc")


class NotTrusted(CommandFailed):
    """A mount, or the process that speaks for it, is of a user whom the caller has no reason to trust."""


def require_trusted_owner(mounted: MountedZramfs) -> int:
    """Return the user who owns a mount; NotTrusted unless that is root or our caller."""
    owner = mounted.mount.owner_uid
    if owner not in {_ROOT, *_callers()}:
        raise NotTrusted(
            f"the zramfs at {mounted.path} is of user {owner}, who could give us any file: "
            "it must be root's, or that of the user who calls this, also by sudo"
        )
    return owner


def _callers() -> set[int]:
    """Return our user, and for root the one who has become root by sudo.

    Only root can make root believe a wrong SUDO_UID.
    """
    user = os.getuid()
    sudo_user = os.environ.get("SUDO_UID", "")
    return {user, int(sudo_user)} if user == _ROOT and sudo_user.isdecimal() and len(sudo_user) < 11 else {user}


def require_daemon(peer: Peer, mounted: MountedZramfs) -> None:
    """Raise NotTrusted unless a peer is the mount's daemon: its owner's, and the one that has the FUSE connection open.

    Where the kernel does not tell who has it open (`fuse_connection` in fdinfo), the mount's own word counts.
    """
    connections = _fuse_connections(peer.pid)
    serves = (
        os.minor(mounted.mount.device_number) in connections
        if connections
        else peer.pid == ask_living(mounted.mount, lambda: mounted.pid, as_owner=False)
    )
    if peer.uid != mounted.mount.owner_uid or not serves:
        raise NotTrusted(
            f"process {peer.pid} of user {peer.uid} answers for {mounted.path}, and is not its daemon (user "
            f"{mounted.mount.owner_uid})"
        )


def _fuse_connections(pid: int) -> set[int]:
    """Return the FUSE connections that a process has open; none if the kernel does not tell."""
    found: set[int] = set()
    with suppress(OSError):
        for entry in (_PROC / str(pid) / "fdinfo").iterdir():
            with suppress(OSError):
                lines = entry.read_text().splitlines()
                found |= {int(line.split()[1]) for line in lines if line.startswith("fuse_connection:")}
    return found
