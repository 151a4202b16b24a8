"""`--strict-machine`: tests that are skipped for want of root, /dev/fuse, loop devices or the kernel's zram are errors.

Every skip is one, but for those whose reason is here: a new one has to be added, or to run.
"""

from typing import Final

_NOT_OF_THE_MACHINE: Final = (
    "the companion brings requests to the rings",
    "manages no streams",
)
"""Pairs of parameters that make no test."""

_MAY_BE_MISSING: Final = (
    "CAP_SYS_RESOURCE",
    "CAP_SYS_ADMIN",
    "mlockall is not allowed here",
    "a daemon of another user cannot be mounted here",
    "an unprivileged user cannot run the zramfs under test",
    "no direct I/O in",
    "memory cgroup",
    "somebody else has swapped out",
    "gcc has no sanitizers here",
    "libudev is not installed",
    "systemd-makefs is not installed",
    "systemd-analyze is not installed",
    "no user namespace can be made here",
    "the kernel has no autofs",
    "zsh is not installed",
    "fish is not installed",
    "mandoc is not installed",
    "man is not installed",
    "no overlay over /usr/sbin",
    "needs two CPUs",
    "io_uring",
    "enable_uring is off",
    "this kernel's zram has no",
    "this kernel's zram lacks",
)
"""What containers, older kernels and folders of root's do not have, and zramfs does without."""


def is_error(reason: str) -> bool:
    """Whether `reason` must not stand behind a skipped test."""
    return not any(words in reason for words in (*_NOT_OF_THE_MACHINE, *_MAY_BE_MISSING))
