"""Asks a mount that may be somebody else's, whose daemon may be hung or any program: bounded in time and size.

The question is put by a child, as the mount's owner if root asks: FUSE shows a mount to nobody else.
"""

import json
import os
import pwd
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

from zramfs.errors import MountFailed, MountIsDead, ZramError
from zramfs.mountpoint import Mount

_ANSWER_S: Final = 20.0
_LONGEST_ANSWER: Final = 16 << 20


def ask(mount: Mount, question: Callable[[], Any], *, as_owner: bool = True) -> Any:
    """Return what `question` returns, which JSON can tell; MountFailed if it fails, or takes too long."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_fd)
        _answer(mount, question, write_fd, as_owner=as_owner)
    os.close(write_fd)
    try:
        said = _read_all(read_fd)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)  # it may have to wait for the daemon all the same, and nobody waits for it
        raise MountFailed(
            f"the daemon of {mount.path} does not answer: end it, or take its mount away with: "
            f"zramfs umount --lazy {mount.path}"
        ) from None
    finally:
        os.close(read_fd)
    os.kill(pid, signal.SIGKILL)  # it is about to end, unless the owner has stopped it
    os.waitpid(pid, 0)
    return _understand(mount, said)


def owner_name(mount: Mount) -> str:
    """Return who mounted it."""
    try:
        return pwd.getpwuid(mount.owner_uid).pw_name
    except KeyError:
        return f"user {mount.owner_uid}"


def _read_all(fd: int) -> bytes:
    """Read until the other end is closed; TimeoutError if that takes too long, or has no end."""
    ends_at = time.monotonic() + _ANSWER_S
    said = b""
    while select.select([fd], [], [], max(0.0, ends_at - time.monotonic()))[0]:
        part = os.read(fd, 1 << 16)
        if not part:
            return said
        said += part
        if len(said) > _LONGEST_ANSWER:
            break
    raise TimeoutError


def _understand(mount: Mount, said: bytes) -> Any:
    if not said:
        raise MountFailed(f"who asked the daemon of {mount.path} was killed")
    answer = json.loads(said)
    if "failed" not in answer:
        return answer["answer"]
    raise MountIsDead(answer["failed"]) if answer["is_dead"] else MountFailed(answer["failed"])


def _answer(mount: Mount, question: Callable[[], Any], write_fd: int, *, as_owner: bool) -> NoReturn:
    """Be the child."""
    try:
        if as_owner:
            _become_owner(mount)
        answer = {"answer": question()}
    except Exception as error:  # noqa: BLE001 - whatever a foreign program's answers lead to
        answer = {"failed": _explain(mount, error), "is_dead": isinstance(error, MountIsDead)}
    with suppress(OSError), os.fdopen(write_fd, "w") as pipe:
        json.dump(answer, pipe)
    os._exit(0)


def _explain(mount: Mount, error: Exception) -> str:
    if isinstance(error, ZramError):
        return str(error)
    if isinstance(error, PermissionError):
        return f"the zramfs at {mount.path} is {owner_name(mount)}'s, and not shown to others"
    if isinstance(error, OSError):
        return f"{error.filename or mount.path}: {error.strerror}"
    return f"what is mounted at {mount.path} does not answer as a zramfs does"


def _become_owner(mount: Mount) -> None:
    """Give up being root for good, if the mount is another's."""
    if os.geteuid() != 0 or mount.owner_uid == 0:
        return
    os.setgroups([])
    os.setresgid(mount.owner_gid, mount.owner_gid, mount.owner_gid)
    os.setresuid(mount.owner_uid, mount.owner_uid, mount.owner_uid)
