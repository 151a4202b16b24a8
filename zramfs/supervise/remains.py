"""What a command has left on a mount that it used: processes with open files, file systems, loop devices, swap."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from zramfs import kernel
from zramfs.block_device import discard_swap_area
from zramfs.loop_device import MAJOR, LoopDevices
from zramfs.mountinfo import read_mounts

_MOST_NAMED: Final = 5


def release_loops(loops: LoopDevices, mountpoint: Path, device: int, known: Iterable[int] = ()) -> None:
    """Detach the loop devices over a mount, and end the swap on them before: nobody needs what it has left there.

    Those `known` need not tell what they are over.
    """
    for number in {*known, *loops.numbers_named_beneath(mountpoint), *loops.numbers_over(device)}:
        with suppress(OSError):  # EINVAL: no swap there
            kernel.swapoff(loops.path(number))
            discard_swap_area(loops.path(number))
        loops.detach_when_unused(number)


def unmount_what_is_on(loops: LoopDevices, mountpoint: Path, device: int) -> list[Path]:
    """Take away the file systems that are mounted from loop devices over a mount; where they were."""
    numbers = {*loops.numbers_named_beneath(mountpoint), *loops.numbers_over(device)}
    names = {f"{MAJOR}:{number}" for number in numbers}
    found = [mount.point for mount in reversed(read_mounts()) if mount.device in names]
    for point in found:
        with suppress(OSError):
            kernel.unmount_lazily(point)
    return found


def name_users(mountpoint: Path) -> str:
    """Name processes that have files of a mount open, or a folder of it as theirs, by what /proc tells us of them.

    The mount is not asked. Each is told as `1234 (name)`, and no more than five are.
    """
    users = list(_users_of(mountpoint))
    more = f" and {len(users) - _MOST_NAMED} more" if len(users) > _MOST_NAMED else ""
    return ", ".join(users[:_MOST_NAMED]) + more


def _users_of(mountpoint: Path) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            with suppress(OSError):
                if any(path.is_relative_to(mountpoint) for path in _places_of(entry)):
                    yield f"{entry.name} ({(entry / 'comm').read_text().strip()})"


def _places_of(process: Path) -> Iterator[Path]:
    for link in (process / "cwd", process / "root", *(process / "fd").iterdir(), *(process / "map_files").iterdir()):
        with suppress(OSError):
            yield link.readlink()
