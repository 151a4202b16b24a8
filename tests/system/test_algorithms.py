"""Every algorithm behind a real mount, and its parameters through the control files."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import MIB, ZRAMFS, Mounted, zramfs

from zramfs.backends.registry import backend_names

Mount = Callable[..., Mounted]


def write_and_read_back(mounted: Mounted, data: bytes) -> None:
    """Write and read past the page cache's copy: partial pages, and a run that two threads read."""
    fd = os.open(mounted.file, os.O_RDWR)
    try:
        assert os.pwrite(fd, data, 1000) == len(data)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(fd, len(data), 1000) == data
    finally:
        os.close(fd)


@pytest.mark.parametrize("algorithm", backend_names())
def test_mount_compresses_with_the_algorithm_chosen(
    mount: Mount, algorithm: str, compressible_pages: Callable[..., bytes]
) -> None:
    mounted = mount("--algorithm", algorithm)
    assert f"[{algorithm}] " in mounted.show("comp_algorithm")
    write_and_read_back(mounted, compressible_pages(512) + os.urandom(100_000))
    device = mounted.device()
    assert device["algorithm"] == device["algorithms"][0]["name"] == algorithm
    assert device["mm_stat"]["mem_used_total"] < device["mm_stat"]["orig_data_size"] < 4 * MIB


@pytest.mark.parametrize("algorithm", [name for name in backend_names() if name != "lz4"])
def test_only_lz4_manages_streams(mount: Mount, algorithm: str) -> None:
    mounted = mount("--algorithm", algorithm, "--accel", "ideal", "--stream-policy", "managed")
    write_and_read_back(mounted, os.urandom(100_000))
    streams = mounted.streams()
    assert streams["managed_pages"] == streams["managed_streams"] == 0
    assert streams["percpu_pages"] >= 25


def test_parameters_and_secondaries_hold_until_reset(
    mount: Mount, tmp_path: Path, compressible_pages: Callable[..., bytes]
) -> None:
    dictionary = tmp_path / "a dictionary"
    dictionary.write_bytes(compressible_pages(2))
    mounted = mount("--algorithm", "deflate", size=None)
    mounted.attribute("comp_algorithm").write_text("zstd\n")
    mounted.attribute("algorithm_params").write_text(f'algo=zstd level=7 dict="{dictionary}"\n')
    mounted.attribute("recomp_algorithm").write_text("algo=deflate priority=2\n")
    mounted.attribute("algorithm_params").write_text("priority=2 deflate.winbits=-13\n")
    mounted.attribute("disksize").write_text("16M")
    write_and_read_back(mounted, compressible_pages(100, seed=1))
    assert mounted.device()["algorithms"] == [
        {"priority": 0, "name": "zstd", "level": 7, "dict": str(dictionary)},
        {"priority": 2, "name": "deflate", "level": -1, "deflate.winbits": -13},
    ]
    table = subprocess.check_output([ZRAMFS, "status", mounted.path], text=True)
    assert "deflate.winbits=-13" in table
    mounted.attribute("reset").write_text("1")
    assert mounted.show("algorithm_stat") == "0 deflate\n"
    assert mounted.show("recomp_algorithm") == ""


def test_parameters_that_the_algorithm_cannot_take_are_refused_with_the_disksize(mount: Mount) -> None:
    mounted = mount("--algorithm", "deflate", size=None)
    mounted.attribute("algorithm_params").write_text("level=99999")
    with pytest.raises(OSError, match="Invalid argument"):
        mounted.attribute("disksize").write_text("16M")
    assert mounted.show("initstate") == "0\n"
    mounted.attribute("algorithm_params").write_text("level=4")
    mounted.attribute("disksize").write_text("16M")
    assert mounted.device()["algorithms"] == [{"priority": 0, "name": "deflate", "level": 4, "deflate.winbits": -11}]


@pytest.mark.parametrize("algorithm", ["lz4", "lz4hc"])
def test_pages_are_compressed_by_a_dictionary_of_lz4(mount: Mount, tmp_path: Path, algorithm: str) -> None:
    page = os.urandom(4096)
    (tmp_path / "words").write_bytes(page)
    mounted = mount("--algorithm", algorithm, size=None)
    mounted.attribute("algorithm_params").write_text(f"dict={tmp_path}/words")
    mounted.attribute("disksize").write_text("1M")
    with mounted.file.open("r+b", buffering=0) as file:
        file.write(page)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(file.fileno(), 4096, 0) == page
    assert mounted.device()["mm_stat"]["compr_data_size"] < 100


def test_relative_paths_begin_in_the_callers_folder(mount: Mount, tmp_path: Path) -> None:
    (tmp_path / "words").write_bytes(b"zspage doorbell")
    (tmp_path / "backing").write_bytes(bytes(4096))
    mounted = mount(size=None)
    for value, attribute in (("dict=words", "algorithm_params"), ("./backing", "backing_dev")):
        store = f"echo {value} > {mounted.attribute(attribute)}"
        subprocess.run(["sh", "-c", store], cwd=tmp_path, check=True)
    assert mounted.show("algorithm_stat") == f"0 lz4 dict={tmp_path}/words\n"
    assert mounted.show("backing_dev") == f"{tmp_path}/backing\n"


def test_a_dictionary_may_lie_in_the_mount_itself(mount: Mount) -> None:
    mounted = mount("--devices", 2, "--algorithm", "zstd", size=None)
    mounted.attribute("disksize").write_text("1M")
    mounted.attribute("algorithm_params", "zram1").write_text(f"dict={mounted.file}")
    mounted.attribute("disksize", "zram1").write_text("1M")
    assert zramfs("status", mounted.path).returncode == 0
