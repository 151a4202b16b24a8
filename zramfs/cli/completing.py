"""What a shell may complete: verbs, mount points and their devices, algorithms, accelerators. Nothing here raises."""

import os
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem, split_arg_string

from zramfs.mountinfo import FILESYSTEM_TYPE, read_mounts

_MAKES_A_MOUNT = "mount"


def complete_verb(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a verb, or one below the verbs that the line has already."""
    below: click.Command | None = ctx.find_root().command
    for name in ctx.params.get(str(param.name)) or ():
        below = below.get_command(ctx, name) if isinstance(below, click.Group) else None
    known = below.list_commands(ctx) if isinstance(below, click.Group) else []
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]


def complete_mountpoint(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete where a zramfs is mounted; folders for the verb that mounts."""
    del param
    if ctx.info_name == _MAKES_A_MOUNT:
        return [CompletionItem(incomplete, type="dir")]
    with suppress(OSError):
        mounts = sorted({str(mount.point) for mount in read_mounts() if mount.kind == FILESYSTEM_TYPE})
        return [CompletionItem(point) for point in mounts if point.startswith(incomplete)]
    return []


def complete_device(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the devices of the mount that the line names already.

    click reads no line that ends with an option without its value: the words are the shell's (COMP_WORDS).
    """
    del ctx, param
    from zramfs.errors import ZramError  # noqa: PLC0415 - only where it is used

    for word in split_arg_string(os.environ.get("COMP_WORDS", "")):
        with suppress(OSError, ZramError, TimeoutError):
            return [CompletionItem(name) for name in _device_names(Path(word)) if name.startswith(incomplete)]
    return []


def _device_names(mountpoint: Path) -> list[str]:
    from zramfs.cli.mounted import MountedZramfs  # noqa: PLC0415 - only where it is used
    from zramfs.patience import ask_patiently  # noqa: PLC0415

    mounted = MountedZramfs(mountpoint)
    return ask_patiently(lambda: " ".join(mounted.device_names()).encode()).decode().split()


def complete_algorithm(incomplete: str) -> list[str]:
    """Complete the name of an algorithm, of other packages too."""
    from zramfs.backends.registry import backend_names  # noqa: PLC0415 - for those who complete

    return [name for name in backend_names() if name.startswith(incomplete)]


def complete_accelerator(incomplete: str) -> list[str]:
    """Complete a profile, and behind a comma a setting that changes it."""
    from zramfs.accel.profile import NO_ACCELERATOR, profile_names  # noqa: PLC0415
    from zramfs.accel.settings import SETTINGS  # noqa: PLC0415

    before, comma, last = incomplete.rpartition(",")
    if comma:
        return [f"{before},{key}=" for key in SETTINGS if key.startswith(last)]
    return [name for name in (*profile_names(), NO_ACCELERATOR) if name.startswith(incomplete)]
