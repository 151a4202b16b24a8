import errno
import os
import stat
from pathlib import Path

import pytest

from zramfs.namespace.proc_view import ProcFiles, diskstats, partitions, swaps
from zramfs.namespace.union import Found, Union

HEADER = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
OURS = {3: "zram0", 4: "zram1"}


def is_node(name: bytes) -> bool:
    return name in (b"zram0", b"vda2", b"mapper/a\\040b")


def test_swaps_of_our_dev_have_its_path() -> None:
    text = HEADER + (
        b"/zram0                                  partition\t65532\t\t0\t\t-2\n"
        b"/vda2                                   partition\t8\t\t4\t\t5\n"
        b"/mapper/a\\040b                          partition\t8\t\t4\t\t5\n"
    )
    shown = swaps(text, is_node)
    assert [line.split() for line in shown.splitlines()[1:]] == [
        [b"/dev/zram0", b"partition", b"65532", b"0", b"-2"],
        [b"/dev/vda2", b"partition", b"8", b"4", b"5"],
        [b"/dev/mapper/a\\040b", b"partition", b"8", b"4", b"5"],
    ]
    lines = shown.splitlines()
    assert lines[0] + b"\n" == HEADER
    assert lines[1].index(b"partition") == 40


def test_swaps_of_others_zram_are_dropped_and_all_others_stay() -> None:
    others = b"/dev/sda2 partition\t8\t\t0\t\t-2\n/swapfile file\t\t8\t\t0\t\t-3\n/dev/zramx partition\t8\t\t0\t\t-4\n"
    text = HEADER + b"/dev/zram0 partition\t8\t\t0\t\t-2\n/dev/zram12\t\t partition\t8\t\t0\t\t-2\n" + others
    assert swaps(text, is_node) == HEADER + others


def test_long_path_of_our_dev_stays_a_word_of_its_own() -> None:
    name = b"x" * 60
    shown = swaps(HEADER + b"/" + name + b" partition\t8\t\t0\t\t-2\n", lambda path: path == name)
    assert shown.splitlines()[1].split() == [b"/dev/" + name, b"partition", b"8", b"0", b"-2"]


def test_partitions_have_our_names() -> None:
    text = (
        b"major minor  #blocks  name\n\n"
        b"   7        3      65536 loop3\n   7        5       1024 loop5\n 253        0      65536 zram0\n"
        b" 254        0  268435456 vda\n"
    )
    assert partitions(text, OURS) == (
        b"major minor  #blocks  name\n\n"
        b"   7        3      65536 zram0\n   7        5       1024 loop5\n"
        b" 254        0  268435456 vda\n"
    )


def test_diskstats_have_our_names() -> None:
    text = b"   7       3 loop3 1 2 3\n   7       4 loop4 4 4 4\n 253       1 zram1 0 0 0\n   8       3 sda3 3 3 3\n"
    assert diskstats(text, OURS) == b"   7       3 zram0 1 2 3\n   7       4 zram1 4 4 4\n   8       3 sda3 3 3 3\n"


def test_device_that_goes_just_now_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hot_remove between the listing of /dev and the look at a name of it."""
    (tmp_path / "partitions").write_text("   7        3      65536 loop3\n")
    node = os.stat_result((stat.S_IFBLK, 0, 0, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": 0})

    def find(_union: Union, path: str) -> Found:
        if path == "zram0":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return Found(0, path, node)

    monkeypatch.setattr(Union, "names", lambda *_: [("zram0", stat.S_IFBLK), ("zram1", stat.S_IFBLK)])
    monkeypatch.setattr(Union, "find", find)
    files = ProcFiles(Union(-1, -1), tmp_path)
    try:
        assert files._ours() == {0: "zram1"}
    finally:
        files._asking.close()
        files._answering.close()
        os.close(files._kernel_fds["partitions"])
