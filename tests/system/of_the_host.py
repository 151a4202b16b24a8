"""Tests that have swap, or swap out: one at a time.

Swap of equal priority is used in turn. What one test does to its swap, another's process would meet in its memory.

Other things of the host need no turns. A loop device is told from a later one of its number (`mounts.AttachedLoop`),
and tests that list the kernel's zram devices hold a lock (`zram_disks.numbers_of_the_kernel`).
"""

from pathlib import PurePath
from typing import Final

_FILES: Final = {
    "test_dead_daemon",
    "test_exec",
    "test_exec_end",
    "test_exec_views",
    "test_library_swap",
    "test_loop_and_swap",
    "test_readme",
}

_TESTS: Final = {"test_a_program_of_the_page_runs", "test_compare_storms_swap"}


def is_of_the_host(nodeid: str) -> bool:
    """Whether a test must not run beside another one of these."""
    file, _, name = nodeid.partition("::")
    return PurePath(file).stem in _FILES or name.partition("[")[0] in _TESTS
