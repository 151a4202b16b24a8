"""Asks a mount that may be somebody else's, whose daemon may be hung or any program: bounded in time and size.

The question is put by a child, as the mount's owner if root asks: FUSE shows a mount to nobody else.
"""

import json
import os
import pwd
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from zramfs.errors import MountDoesNotAnswer, MountFailed, MountIsDead, ZramError
from zramfs.mountpoint import Mount, no_answer, require_living
from zramfs.patience import ask_each_patiently, ask_patiently

_OVERVIEW_S: Final = 5.0
"""How long all of several mounts are waited for: a busy daemon answers within a fraction of a second."""


def ask(mount: Mount, question: Callable[[], Any], *, as_owner: bool = True) -> Any:
    """Return what `question` returns, which JSON can tell; MountFailed if it fails, with the errno of that failure.

    MountIsDead, or MountDoesNotAnswer if it takes too long.
    """
    try:
        said = ask_patiently(lambda: _answer(mount, question, as_owner=as_owner))
    except TimeoutError:
        raise no_answer(mount.path) from None
    return _understand(mount, said)


def ask_living(mount: Mount, question: Callable[[], Any], *, as_owner: bool = True) -> Any:
    """Like `ask`, of a daemon that has not ended; MountIsDead if it has."""

    def question_to_living() -> Any:
        require_living(mount)
        return question()

    return ask(mount, question_to_living, as_owner=as_owner)


def ask_all_living(
    asked: Sequence[tuple[Mount, Callable[[], Any]]], within_s: float = _OVERVIEW_S
) -> list[Any | MountFailed]:
    """Ask several mounts at once, like `ask_living`: the answer of each, or why there is none."""

    def question_to(mount: Mount, question: Callable[[], Any]) -> bytes:
        def question_to_living() -> Any:
            require_living(mount)
            return question()

        return _answer(mount, question_to_living, as_owner=True)

    told = ask_each_patiently([partial(question_to, *each) for each in asked], within_s)
    return [_outcome(mount, said) for (mount, _), said in zip(asked, told, strict=True)]


def _outcome(mount: Mount, said: bytes | None) -> Any | MountFailed:
    if said is None:
        return no_answer(mount.path)
    try:
        return _understand(mount, said)
    except MountFailed as error:
        return error


def owner_name(mount: Mount) -> str:
    """Return who mounted it."""
    try:
        return pwd.getpwuid(mount.owner_uid).pw_name
    except KeyError:
        return f"user {mount.owner_uid}"


def _understand(mount: Mount, said: bytes) -> Any:
    if not said:
        raise MountFailed(f"who asked the daemon of {mount.path} was killed")
    answer = json.loads(said)
    if "failed" not in answer:
        return answer["answer"]
    kind = {each.__name__: each for each in (MountIsDead, MountDoesNotAnswer)}.get(answer["kind"], MountFailed)
    error = kind(answer["failed"])
    error.errno = answer["errno"]
    raise error


def _answer(mount: Mount, question: Callable[[], Any], *, as_owner: bool) -> bytes:
    """Be the child."""
    try:
        if as_owner:
            _become_owner(mount)
        answer = {"answer": question()}
    except Exception as error:  # noqa: BLE001 - whatever a foreign program's answers lead to
        number = getattr(error, "errno", None) or MountFailed.errno
        answer = {"failed": _explain(mount, error), "kind": type(error).__name__, "errno": number}
    return json.dumps(answer).encode()


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
