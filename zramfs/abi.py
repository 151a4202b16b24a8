"""Which kernel's zram a mount behaves as (`mount --zram-abi`): the one table of what kernels do differently.

docs/zram-abi.md has the same table for readers, and tests hold the two together.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ZramAbi:
    """The rules of one kernel where kernels differ; each is a rule of later kernels, since the version noted."""

    name: str
    has_batch_size: bool
    """`writeback_batch_size` is there (6.19)."""
    uses_first_block: bool
    """The first block of a backing device takes a page like all others; otherwise it stays free (6.19)."""
    has_compressed_writeback: bool
    """`compressed_writeback` is there (7.0)."""
    keeps_marks_of_written_back: bool
    """A written-back page stays huge, recompressed or incompressible in block_state (7.0)."""
    counts_access_in_seconds: bool
    """When a page was accessed is known in seconds, by block_state and `idle` alike, and not in nanoseconds (7.0)."""
    fixes_params_at_init: bool
    """`algorithm_params` is EBUSY once the device is initialised (7.1)."""
    checks_priority_of_algo: bool
    """`algo=` and `priority=` together must name what is configured so; otherwise `algo=` counts alone (7.1)."""
    recompresses_by_one: bool
    """`recompress` tries one algorithm, #1 unless told otherwise, and not all in their order (7.1)."""
    checks_recompress_type: bool
    """An unknown `type=` of `recompress` is EINVAL; otherwise it stands for all pages (7.1)."""
    resets_params_with_algorithm: bool
    """Choosing an algorithm puts the parameters of its priority back to the defaults (7.3)."""


ZRAM_6_18: Final = ZramAbi(
    name="6.18",
    has_batch_size=False,
    uses_first_block=False,
    has_compressed_writeback=False,
    keeps_marks_of_written_back=False,
    counts_access_in_seconds=False,
    fixes_params_at_init=False,
    checks_priority_of_algo=False,
    recompresses_by_one=False,
    checks_recompress_type=False,
    resets_params_with_algorithm=False,
)

ZRAM_7_3: Final = ZramAbi(
    name="7.3",
    has_batch_size=True,
    uses_first_block=True,
    has_compressed_writeback=True,
    keeps_marks_of_written_back=True,
    counts_access_in_seconds=True,
    fixes_params_at_init=True,
    checks_priority_of_algo=True,
    recompresses_by_one=True,
    checks_recompress_type=True,
    resets_params_with_algorithm=True,
)

NEWEST: Final = ZRAM_7_3

ABIS: Final = {abi.name: abi for abi in (ZRAM_6_18, ZRAM_7_3)}
"""Those that a mount can have, by name."""
