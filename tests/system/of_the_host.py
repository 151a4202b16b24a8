"""Tests that look at all swap, loop devices, devices of the kernel's zram or processes, or measure: one at a time.

Swap of equal priority is used in turn. What one test does to its swap, another's process would meet in its memory.
"""

from pathlib import PurePath
from typing import Final

_FILES: Final = {
    "test_copies",
    "test_dead_daemon",
    "test_differential",
    "test_exec",
    "test_exec_views",
    "test_hostile_mount",
    "test_hot_plug",
    "test_kernel_comparison",
    "test_kernel_lengths",
    "test_library_guide",
    "test_library_swap",
    "test_loop_and_swap",
    "test_readme",
    "test_transcript",
    "test_users",
}

_TESTS: Final = {"test_compare_storms_swap"}


def is_of_the_host(nodeid: str) -> bool:
    """Whether a test must not run beside another one of these."""
    file, _, name = nodeid.partition("::")
    return PurePath(file).stem in _FILES or name.partition("[")[0] in _TESTS
