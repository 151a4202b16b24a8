"""All zramfs mounts of a user, living or not, and what they tell of themselves; none of them is waited for long."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from zramfs.cli.asking import ask_all_living, owner_name
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.report import read_status
from zramfs.errors import MountDoesNotAnswer, MountFailed, MountIsDead
from zramfs.foreign import printable
from zramfs.mountpoint import Mount, find_all_ours


def mounts_of_this_user() -> list[Mount]:
    """Return the zramfs mounts of this user; root has those of everybody."""
    user = os.geteuid()
    return [mount for mount in find_all_ours() if user in (0, mount.owner_uid)]


def read_overview(mounts: Sequence[Mount], *, in_full: bool = True) -> list[dict[str, Any]]:
    """Return a report of each mount, as of `read_status`, with its `state` and `owner`.

    The state is live, dead, hung, or failed; of any but the first the report has an `error`, and no devices.
    """
    told = ask_all_living([(mount, partial(_read, mount.path, in_full)) for mount in mounts])
    return [_described(mount, each) for mount, each in zip(mounts, told, strict=True)]


def _read(path: Path, in_full: bool) -> dict[str, Any]:  # noqa: FBT001
    return read_status(MountedZramfs(path), in_full=in_full)


def _described(mount: Mount, told: dict[str, Any] | MountFailed) -> dict[str, Any]:
    own = {"mountpoint": printable(str(mount.path)), "owner": owner_name(mount)}
    if isinstance(told, MountFailed):
        return {**own, "state": _state_of(told), "error": str(told), "devices": []}
    return {**told, **own, "state": "live"}


def _state_of(error: MountFailed) -> str:
    if isinstance(error, MountIsDead):
        return "dead"
    return "hung" if isinstance(error, MountDoesNotAnswer) else "failed"
