import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import MIB, ZRAMFS, Mounted, zramfs

Mount = Callable[..., Mounted]
Fio = Callable[..., None]


def taken(mounted: Mounted) -> tuple[int, int, int]:
    streams = mounted.streams()
    return streams["managed_pages"], streams["fallback_pages"], streams["percpu_pages"]


@pytest.mark.parametrize(
    ("shape", "megabytes"),
    [
        ("--rw=randwrite --bs=4k --ioengine=libaio --iodepth=32", 32),
        ("--rw=write --bs=1M --ioengine=io_uring --iodepth=8", 64),
    ],
    ids=["4k by libaio", "1M by io_uring"],
)
def test_direct_asynchronous_writes_are_managed(mount: Mount, fio: Fio, shape: str, megabytes: int) -> None:
    mounted = mount()
    fio(mounted.file, *shape.split(), "--direct=1", f"--size={megabytes}M")
    managed, fallback, percpu = taken(mounted)
    assert (managed + fallback, percpu) == (megabytes * MIB // 4096, 0)
    assert managed > 0


@pytest.mark.parametrize(
    "options",
    [
        ["--ioengine=psync", "--sync=1"],
        ["--ioengine=psync", "--sync=1", "--direct=1"],
        ["--ioengine=libaio", "--sync=1", "--direct=1", "--iodepth=8"],
        ["--ioengine=psync"],
    ],
)
def test_writes_that_somebody_waits_for_are_percpu(mount: Mount, fio: Fio, options: list[str]) -> None:
    mounted = mount()
    fio(mounted.file, "--rw=randwrite", "--bs=4k", "--size=8M", *options)
    assert taken(mounted) == (0, 0, 8 * MIB // 4096)


@pytest.mark.parametrize(
    "profile", ["ideal,queue_depth=1", "ideal,queue_depth=16,engines=1", "poc", "poc,queue_depth=8"]
)
def test_runs_larger_than_the_queue_add_up_and_read_back(mount: Mount, fio: Fio, profile: str) -> None:
    mounted = mount("--accel", profile)
    common = [
        "--direct=1",
        "--ioengine=libaio",
        "--iodepth=8",
        "--numjobs=4",
        "--size=16M",
        "--offset_increment=16M",
    ]
    fio(mounted.file, "--rw=randwrite", "--bs=1M", *common)
    managed, fallback, percpu = taken(mounted)
    assert (managed + fallback, percpu) == (64 * MIB // 4096, 0)
    assert managed > 0
    assert fallback > 0
    streams = mounted.streams()
    assert streams["inflight"] == 0
    assert 0 < streams["inflight_max"] <= streams["managed_streams"]


def test_writes_are_percpu_without_an_accelerator(mount: Mount, fio: Fio) -> None:
    mounted = mount("--accel", "none")
    fio(mounted.file, "--rw=write", "--bs=64k", "--direct=1", "--ioengine=libaio", "--iodepth=4", "--size=8M")
    assert taken(mounted) == (0, 0, 8 * MIB // 4096)
    assert mounted.streams()["managed_streams"] == 0
    assert mounted.device()["accel"] == {"profile": "none"}


def test_accelerator_that_cannot_be_set_up_leaves_percpu_streams_and_says_so(tmp_path: Path) -> None:
    """The stacks of 64 engine threads do not fit where address space is short."""
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    command = f"mount {mountpoint} --size 16M --accel ideal,engines=64 --log-file {tmp_path}/log"
    limited = ["prlimit", "--as=700000000", ZRAMFS, *command.split()]
    subprocess.run(limited, check=True, capture_output=True)
    try:
        stat = (mountpoint / "sys/block/zram0/stream_stat").read_text()
        assert "managed_streams 0\n" in stat
        assert "managed_error accelerator ideal:" in stat
        (mountpoint / "zram0").write_bytes(os.urandom(MIB))
        assert "percpu_pages 256\n" in (mountpoint / "sys/block/zram0/stream_stat").read_text()
    finally:
        assert zramfs("umount", mountpoint).returncode == 0


def test_policy_forces_one_kind(mount: Mount) -> None:
    mounted = mount()
    mounted.attribute("stream_policy").write_text("managed")
    assert mounted.show("stream_policy") == "auto [managed] percpu\n"
    mounted.file.write_bytes(os.urandom(MIB))
    managed, fallback, percpu = taken(mounted)
    assert (managed + fallback, percpu) == (256, 0)
    mounted.attribute("stream_policy").write_text("percpu\n")
    mounted.file.write_bytes(os.urandom(MIB))
    assert taken(mounted) == (managed, fallback, 256)
