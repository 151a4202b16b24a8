"""What mount(8) calls for `mount -t fuse.zramfs none DIR -o size=1G,…` and for lines of fstab.

It calls /sbin/mount.fuse.zramfs, our second program, as `mount.fuse.zramfs SOURCE DIR [-sfnv] [-o OPTIONS] [-t TYPE]`.
Where that is missing, it calls mount.fuse3, which calls `zramfs SOURCE DIR -o OPTIONS`. Both become `zramfs mount`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from zramfs.cli.verb_names import VERBS
from zramfs.errors import InvalidValue
from zramfs.suggestions import did_you_mean

_OURS: Final = (
    *("size", "algorithm", "zram_abi", "mem_limit", "devices", "accel", "stream_policy", "transport", "busy_poll"),
    *("log", "trace", "metrics", "pid_file"),
)
_OUR_FLAGS: Final = {"allow_other": "--allow-other", "read_only": "--read-only", "ro": "--read-only"}

_OF_THE_SYSTEM: Final = frozenset(
    {
        *("defaults", "rw", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "nofail", "sync"),
        *("async", "dirsync", "mand", "nomand", "silent", "loud", "lazytime", "nolazytime", "iversion", "noiversion"),
        *("dev", "nodev", "suid", "nosuid", "exec", "noexec", "atime", "noatime", "diratime", "nodiratime"),
        *("relatime", "norelatime", "strictatime", "nostrictatime", "default_permissions", "nonempty"),
    }
)
"""Options of any file system (mount(8)): they mean nothing here, or are what a zramfs is anyway."""


def is_call_of_mount(arguments: Sequence[str], program: str) -> bool:
    """Whether mount(8) calls, and no user: SOURCE DIR -o …, with a source that is no verb; or by the helper's name."""
    if Path(program).name in {"mount.fuse.zramfs", "mount.zramfs"}:
        return True
    return len(arguments) >= 3 and arguments[0] not in VERBS and arguments[2] == "-o"


def translate(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `zramfs` for those that mount(8) gives, none if it only pretends to mount.

    InvalidValue if they cannot be translated.
    """
    words: list[str] = []
    options = ""
    is_faked = False
    rest = iter(arguments)
    for word in rest:
        if word == "-o":
            options += "," + next(rest, "")
        elif word in {"-t", "-N"}:
            next(rest, "")
        elif word.startswith("-"):
            is_faked = is_faked or "f" in word
        else:
            words.append(word)
    if len(words) != 2:
        raise InvalidValue("mount.fuse.zramfs takes a source, whose name does not matter, and a directory")
    translated = list(_translate_options(filter(None, options.split(","))))
    return [] if is_faked else ["mount", *translated, "--", words[1]]


def _translate_options(options: Iterator[str]) -> Iterator[str]:
    for option in options:
        key, has_value, value = option.partition("=")
        name = key.replace("-", "_")
        if name in _OUR_FLAGS:
            if has_value:
                raise InvalidValue(f"option {key} of a mount takes no value")
            yield _OUR_FLAGS[name]
        elif name in _OURS:
            if not has_value:
                raise InvalidValue(f"option {key} of a mount needs a value: {key}=…")
            yield f"--{name.replace('_', '-')}={value.replace(':', ',') if name == 'accel' else value}"
        elif option not in _OF_THE_SYSTEM and not key.startswith(("x-", "X-", "comment")):
            raise InvalidValue(f"no option {option!r} of a mount: {did_you_mean(name, (*_OURS, *_OUR_FLAGS))}")
