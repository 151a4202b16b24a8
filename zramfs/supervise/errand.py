"""Work that may hang, because a daemon has to answer meanwhile: a child does it, and nobody need wait for that one.

A process that waits for a FUSE daemon may be beyond SIGKILL until the daemon answers or ends. A thread would keep its
process from ending, a child does not.
"""

import json
import os
import select
import signal
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Final, NoReturn

from zramfs.errors import CommandFailed, ZramError

_PATIENCE_S: Final = 3.0
"""How long the daemon has for an answer that is none of a device, before it counts as hung."""

_LONGEST_S: Final = 600.0
"""How long anything may take: a daemon can answer one question for ever, and another one never."""


class NoAnswer(CommandFailed):
    """The daemon leaves whoever asks it without an answer, or somebody would rather not wait."""


class Errand:
    """Does `work` in a child, which has none of our standard streams: whoever reads those waits for their end."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._said_fd, said_fd = os.pipe()
        self._said = b""
        self.pid = os.fork()
        if self.pid == 0:
            _do(work, said_fd)
        os.close(said_fd)

    def is_done(self, *, within_s: float, attended: Collection[int] = ()) -> bool:
        """Wait for the result; False after `within_s`, or as soon as one of `attended` can be read."""
        ends_at = time.monotonic() + within_s
        while True:
            remaining_s = max(0.0, ends_at - time.monotonic())
            readable, _, _ = select.select([self._said_fd, *attended], [], [], remaining_s)
            if self._said_fd not in readable:
                return False
            some = os.read(self._said_fd, 1 << 16)
            if not some:
                return True
            self._said += some

    def result(self) -> Any:
        """Return what the work, which is done, has returned: what JSON can tell. OSError is the work's."""
        self._end()
        said = json.loads(self._said or b'{"errno": null, "failed": "a child was killed"}')
        if "failed" not in said:
            return said["result"]
        if said["errno"] is None:
            raise CommandFailed(said["failed"])
        raise OSError(said["errno"], said["failed"], said["filename"])

    def leave(self) -> None:
        """Wait no longer; the work goes on when the daemon answers."""
        os.close(self._said_fd)

    def abandon(self) -> None:
        """Wait no longer; the child ends as soon as the kernel lets it."""
        os.kill(self.pid, signal.SIGKILL)
        os.close(self._said_fd)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)

    def _end(self) -> None:
        os.close(self._said_fd)
        with suppress(ChildProcessError):  # somebody has waited for all of our children
            os.waitpid(self.pid, 0)


def do(
    work: Callable[[], Any],
    *,
    within_s: float = _PATIENCE_S,
    attended: Collection[int] = (),
    asked: str = "the daemon",
) -> Any:
    """Return what `work` returns, as JSON tells it; NoAnswer after `within_s`, or when one of `attended` can be read.

    OSError is the work's, as is CommandFailed, which stands for any ZramError.
    """
    errand = Errand(work)
    if errand.is_done(within_s=within_s, attended=attended):
        return errand.result()
    errand.abandon()
    raise NoAnswer(f"{asked} does not answer")


def hangs(mount_fd: int) -> bool:
    """Whether the daemon of a mount, of which this is a descriptor, leaves a question unanswered; not if it is dead."""
    errand = Errand(lambda: bool(os.statvfs(mount_fd)))
    is_hung = not errand.is_done(within_s=_PATIENCE_S)
    errand.abandon()
    return is_hung


def finish(work: Callable[[], None], mount_fd: int) -> bool:
    """Do `work`, however long it takes while the daemon answers; False if it is left to a child."""
    errand = Errand(work)
    ends_at = time.monotonic() + _LONGEST_S
    while not errand.is_done(within_s=_PATIENCE_S):
        if time.monotonic() > ends_at or hangs(mount_fd):
            errand.leave()
            return False
    errand.result()
    return True


def leave_standard_streams() -> None:
    """Let go of what we have from whoever started us, its session too."""
    os.setsid()
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null_fd, fd)
    os.close(null_fd)


def _do(work: Callable[[], Any], said_fd: int) -> NoReturn:
    """Be the child."""
    try:
        leave_standard_streams()
        with os.fdopen(said_fd, "w") as pipe:
            json.dump(_outcome(work), pipe)
    finally:
        os._exit(0)


def _outcome(work: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"result": work()}
    except ZramError as error:
        return {"failed": str(error), "errno": None}
    except OSError as error:
        return {"failed": error.strerror, "errno": error.errno, "filename": error.filename}
