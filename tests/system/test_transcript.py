"""The kernel's zram and ours answer one script (transcript.py) alike, but for what is listed here, with the reason."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from mounts import Mounted
from transcript import Disk, Script, store_when_closed
from zram_disks import numbers_of_the_kernel

Mount = Callable[..., Mounted]

ABI = ("--zram-abi", "6.18")
"""The kernel that the answers were compared with; another one may answer otherwise."""

KERNEL_CONTROL = Path("/sys/class/zram-control")


class Difference(NamedTuple):
    """What is answered differently on purpose, in which states."""

    states: str
    question: str
    kernel: str
    ours: str
    reason: str
    depends_on_build: bool = False


DIFFERENCES = (
    Difference(
        "fresh",
        "comp_algorithm",
        "[lzo-rle] \n",
        "[lz4] \n",
        "the default is that of mount --algorithm",
        depends_on_build=True,
    ),
    Difference("fresh", "comp_algorithm in two parts", "[lzo-rle] \n", "[lz4] \n", "as above", depends_on_build=True),
    Difference("fresh", "comp_algorithm after all that", "[lzo-rle] \n", "[lz4] \n", "as above", depends_on_build=True),
    Difference("reset", "comp_algorithm to begin with", "[lzo-rle] \n", "[lz4] \n", "as above", depends_on_build=True),
    Difference(
        "initialised written", "idle <- '5'", "EINVAL", "ok(1)", "ours has access times always", depends_on_build=True
    ),
    *(
        Difference(
            "unusual", f"truncate to {size}", "EINVAL", "None", "nothing happens: dd and a shell's > must not fail"
        )
        for size in (0, 4096, 16781312, 16785408)
    ),
    Difference("unusual", "FIBMAP", "ENOTTY", "ok", "the kernel answers for FUSE: block 0"),
    Difference(
        "unusual", "write with O_APPEND", "4096", "ENOSPC", "the kernel lets a file's O_APPEND begin at its end"
    ),
    Difference("unusual", "write with RWF_APPEND", "4096", "ENOSPC", "as above"),
    Difference("writing", "write 512 bytes", "EINVAL", "512", "a file takes what a block device does not: any length"),
)

COMPARED_BY: dict[str, Callable[[str], str]] = {
    # How the kernel was built decides on the algorithms: only the chosen one, and the blank behind each name.
    "comp_algorithm": lambda shown: re.sub(r"(?<!\S)[a-z0-9-]+ ", "", shown),
    # Numbers of a block device: the kernel chooses them, and a file has none (0:0).
    "dev": lambda shown: re.sub(r"\d+", "N", shown),
    # The kernel does not count a zram's requests (its queue/iostats is 0), ours does: only how many numbers there are.
    "stat": lambda shown: re.sub(r" *\d+", " N", shown),
}
"""What of an attribute is compared, where the whole cannot be."""


MISSING = {
    "bdi", "capability", "discard_alignment", "diskseq", "events", "events_async", "events_poll_msecs", "inflight",
    "integrity", "mq", "partscan", "power", "subsystem", "trace", "uevent",
}  # fmt: skip
"""Of the block layer: they are about a block device of the kernel, and zramfs has a file."""


def shown_for_comparison(name: str, shown: str) -> str:
    return COMPARED_BY[name](shown) if name in COMPARED_BY else shown


def listed(differences: Iterable[Difference]) -> Iterator[tuple[str, str, str]]:
    """Each question, with the kernel's answer and ours."""
    for each in differences:
        for state in each.states.split():
            yield f"{state}: {each.question}", each.kernel, each.ours


@pytest.fixture
def kernel_disk() -> Iterator[Disk]:
    if not (KERNEL_CONTROL / "hot_add").exists():
        pytest.skip("no zram in this kernel (/sys/class/zram-control/hot_add)")
    with numbers_of_the_kernel(alone=True):
        number = int((KERNEL_CONTROL / "hot_add").read_text())
        disk = Disk(number, Path(f"/sys/block/zram{number}"), Path(f"/dev/zram{number}"), KERNEL_CONTROL)
        try:
            if not {"lz4", "lzo", "lzo-rle"} <= set(
                re.findall(r"[\w-]+", (disk.attributes / "comp_algorithm").read_text())
            ):
                pytest.skip("this kernel's zram lacks lz4, lzo or lzo-rle")
            yield disk
        finally:
            if disk.attributes.exists():
                store_when_closed(KERNEL_CONTROL / "hot_remove", str(number))


def test_transcript_differs_from_the_kernels_only_as_listed(mount: Mount, kernel_disk: Disk) -> None:
    path = mount(*ABI, size=None).path
    our_disk = Disk(0, path / "sys/block/zram0", path / "zram0", path / "sys/class/zram-control")
    kernel = Script(kernel_disk, shown_for_comparison).run()
    ours = Script(our_disk, shown_for_comparison).run()
    assert list(kernel) == list(ours)
    differing = {
        (question, kernel[question], ours[question]) for question in kernel if kernel[question] != ours[question]
    }
    assert differing - set(listed(DIFFERENCES)) == set()
    assert set(listed(each for each in DIFFERENCES if not each.depends_on_build)) - differing == set()


def test_attributes_that_the_kernel_has_and_ours_have_not_are_listed(mount: Mount, kernel_disk: Disk) -> None:
    ours = mount(*ABI, size=None).path / "sys/block/zram0"
    missing = {entry.name for entry in kernel_disk.attributes.iterdir()} - {entry.name for entry in ours.iterdir()}
    assert missing <= MISSING
