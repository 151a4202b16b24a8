"""Recompression on real mounts, with the algorithms that there are."""

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from mounts import MIB, Mounted, repeated
from test_attributes import answer

Mount = Callable[..., Mounted]


def mount_with(mount: Mount, *algorithms: str) -> Mounted:
    mounted = mount(size=None)
    for priority, name in enumerate(algorithms, 1):
        given = answer(mounted, "recomp_algorithm", f"algo={name} priority={priority}")
        if given == "EINVAL":
            pytest.skip(f"no algorithm {name}")
    assert answer(mounted, "disksize", "256M") == "ok(4)"
    return mounted


def text(megabytes: int) -> bytes:
    """Make words that every algorithm shrinks, and better ones more."""
    words = [bytes(random.Random(number).choices(range(97, 123), k=8)) for number in range(400)]
    return b" ".join(random.Random(1).choices(words, k=megabytes * MIB // 9 + 1))[: megabytes * MIB]


def write(mounted: Mounted, data: bytes) -> None:
    with mounted.file.open("r+b", buffering=0) as file:
        for offset in range(0, len(data), MIB):
            os.pwrite(file.fileno(), data[offset : offset + MIB], offset)
        os.fsync(file.fileno())


def read(mounted: Mounted, size: int) -> bytes:
    fd = os.open(mounted.file, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    data = os.pread(fd, size, 0)
    os.close(fd)
    return data


def mm_stat(mounted: Mounted) -> dict[str, Any]:
    statistics: dict[str, Any] = mounted.device()["mm_stat"]
    return statistics


def test_recompression_saves_memory_and_shows_in_mm_stat(mount: Mount) -> None:
    mounted = mount_with(mount, "zstd")
    data = text(8)
    write(mounted, data)
    before = mm_stat(mounted)
    assert answer(mounted, "idle", "all") == "ok(3)"
    assert answer(mounted, "recompress", "type=idle\n") == "ok(10)"
    after = mm_stat(mounted)
    assert after["orig_data_size"] == before["orig_data_size"] == 8 * MIB
    assert after["compr_data_size"] < 0.9 * before["compr_data_size"]
    assert after["mem_used_total"] < before["mem_used_total"]
    assert read(mounted, len(data)) == data
    state = (mounted.path / "sys/kernel/debug/zram/zram0/block_state").read_text()
    assert sum(line.endswith("....r.") for line in state.splitlines()) > 1900


def test_three_algorithms_are_limited_to_one_by_name_or_priority(mount: Mount) -> None:
    mounted = mount_with(mount, "lz4hc", "deflate", "zstd")
    data = text(1)
    write(mounted, data)
    for wanted in ("algo=lz4hc", "priority=2", "type=huge", "threshold=3000 max_pages=10"):
        assert answer(mounted, "recompress", wanted).startswith("ok"), wanted
        assert read(mounted, len(data)) == data
    assert answer(mounted, "recompress", "algo=lzo") == "EINVAL"
    assert answer(mounted, "recompress", "priority=4") == "EINVAL"
    assert answer(mounted, "recompress", "threshold=3625") == "EINVAL"
    assert answer(mounted, "recompress", "idle") == "EINVAL"


def test_recompression_under_load_loses_nothing(mount: Mount, fio: Callable[..., None]) -> None:
    mounted = mount_with(mount, "zstd")
    answers: list[str] = []

    def recompress() -> None:
        answers.append(answer(mounted, "idle", "all"))
        answers.append(answer(mounted, "recompress", "type=idle"))
        answers.append(answer(mounted, "compact", "1"))

    with repeated(recompress):
        fio(
            mounted.file, "--size=48M", "--rw=randrw", "--bsrange=1k-128k", "--direct=1", "--ioengine=libaio",
            "--iodepth=32", "--verify_backlog=512", "--buffer_compress_percentage=40",
        )  # fmt: skip
    assert {text[:2] for text in answers} == {"ok"}
    assert mounted.device()["io_stat"]["failed_reads"] == 0
