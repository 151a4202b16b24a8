import errno
import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from mounts import MIB, Mounted

Mount = Callable[..., Mounted]

MODES = {
    "disksize": 0o644,
    "initstate": 0o444,
    "reset": 0o200,
    "comp_algorithm": 0o644,
    "recomp_algorithm": 0o644,
    "algorithm_params": 0o200,
    "algorithm_stat": 0o444,
    "mem_limit": 0o200,
    "mem_used_max": 0o200,
    "compact": 0o200,
    "idle": 0o200,
    "recompress": 0o200,
    "backing_dev": 0o644,
    "writeback": 0o200,
    "writeback_limit": 0o644,
    "writeback_limit_enable": 0o644,
    "writeback_batch_size": 0o644,
    "compressed_writeback": 0o644,
    "bd_stat": 0o444,
    "mm_stat": 0o444,
    "io_stat": 0o444,
    "debug_stat": 0o444,
    "stat": 0o444,
    "size": 0o444,
    "dev": 0o444,
    "ro": 0o444,
    "queue/logical_block_size": 0o444,
    "stream_policy": 0o644,
    "stream_stat": 0o644,
    "latency_stat": 0o644,
    "mem_limit_stat": 0o644,
    "accel/stat": 0o644,
}


def answer(mounted: Mounted, name: str, value: str) -> str:
    """What a write gets: ok(bytes), or the errno's name, as in the kernel's transcript."""
    try:
        fd = os.open(mounted.attribute(name), os.O_WRONLY)
        try:
            written = os.write(fd, value.encode())
        except OSError:
            with suppress(OSError):  # that of a mount that ends meanwhile
                os.close(fd)
            raise
        os.close(fd)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return f"ok({written})"


def test_modes_are_the_kernels(mount: Mount) -> None:
    mounted = mount(size=None)
    assert {name: stat.S_IMODE(mounted.attribute(name).stat().st_mode) for name in MODES} == MODES


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("disksize", "0", "EINVAL"),
        ("disksize", "abc", "EINVAL"),
        ("disksize", "", "ok(0)"),
        ("mem_limit", "abc", "EINVAL"),
        ("mem_limit", "1M", "ok(2)"),
        ("mem_used_max", "1", "EINVAL"),
        ("mem_used_max", "99999999999999999999999", "EINVAL"),
        ("mem_used_max", "0", "ok(1)"),
        ("compact", "1", "EINVAL"),
        ("idle", "all", "EINVAL"),
        ("idle", "5", "EINVAL"),
        ("idle", "x", "EINVAL"),
        ("backing_dev", "none\n", "ok(5)"),
        ("backing_dev", "relative", "ENOENT"),
        ("backing_dev", "/nonexistent", "ENOENT"),
        ("backing_dev", "/dev/null", "ENOTBLK"),
        ("backing_dev", "/", "ENOTBLK"),
        ("recompress", "type=idle", "EINVAL"),
        ("writeback", "idle", "EINVAL"),
        ("writeback_limit", "5", "ok(1)"),
        ("writeback_limit", "x", "EINVAL"),
        ("writeback_limit", "18446744073709551616", "EINVAL"),
        ("writeback_limit_enable", "2", "ok(1)"),
        ("writeback_limit_enable", "on", "EINVAL"),
        ("writeback_batch_size", "0", "EINVAL"),
        ("writeback_batch_size", "4294967296", "EINVAL"),
        ("writeback_batch_size", "64\n", "ok(3)"),
        ("bd_stat", "1", "EACCES"),
        ("reset", "0", "EINVAL"),
        ("reset", "x", "EINVAL"),
        ("reset", "-1", "EINVAL"),
        ("reset", "70000", "ERANGE"),
        ("reset", "1", "ok(1)"),
        ("comp_algorithm", "nope", "EINVAL"),
        ("comp_algorithm", "x" * 200, "E2BIG"),
        ("comp_algorithm", "lz4\n", "ok(4)"),
        ("algorithm_params", "level", "EINVAL"),
        ("algorithm_params", "level=x", "EINVAL"),
        ("algorithm_params", "priority=9", "EINVAL"),
        ("algorithm_params", "algo=zstd level=1", "EINVAL"),
        ("algorithm_params", "algo=lz4 level=1", "ok(16)"),
        ("algorithm_params", "bogus=1", "ok(7)"),
        ("algorithm_params", "dict=/nonexistent", "EINVAL"),
        ("recomp_algorithm", "algo=nope", "EINVAL"),
        ("recomp_algorithm", "algo=lz4 priority=3", "ok(19)"),
        ("recomp_algorithm", "algo=lz4 priority=4", "EINVAL"),
        ("stream_policy", "nope", "EINVAL"),
        ("mm_stat", "1", "EACCES"),
    ],
)
def test_uninitialised_device_answers_as_the_kernels(mount: Mount, name: str, value: str, expected: str) -> None:
    assert answer(mount(size=None), name, value) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("disksize", "1M", "EBUSY"),
        ("disksize", "junk", "EINVAL"),
        ("comp_algorithm", "lz4", "EBUSY"),
        ("recomp_algorithm", "algo=lz4", "EBUSY"),
        ("algorithm_params", "algo=lz4 level=3", "EBUSY"),
        ("compact", "any text", "ok(8)"),
        ("idle", "all", "ok(3)"),
        ("idle", "3600\n", "ok(5)"),
        ("idle", "x", "EINVAL"),
        ("recompress", "type=idle", "EINVAL"),
        ("backing_dev", "none", "EBUSY"),
        ("writeback", "idle", "ENODEV"),
        ("mem_limit", "0", "ok(1)"),
        ("mem_limit", "8K and junk", "ok(11)"),
    ],
)
def test_initialised_device_answers_as_the_kernels(mount: Mount, name: str, value: str, expected: str) -> None:
    assert answer(mount(size="16M"), name, value) == expected


def test_statistics_of_an_uninitialised_device_are_zeros(mount: Mount) -> None:
    mounted = mount(size=None)
    assert mounted.show("mm_stat") == " ".join(["       0"] * 9) + "\n"
    assert mounted.show("io_stat") == "       0        0 0        0\n"
    assert mounted.show("debug_stat") == "version: 1\n0        0\n"
    assert mounted.show("bd_stat") == "       0        0        0\n"
    assert mounted.show("backing_dev") == "none\n"
    assert mounted.show("initstate") == "0\n"
    assert "[lz4] " in mounted.show("comp_algorithm")
    assert mounted.file.read_bytes() == b""
    with pytest.raises(OSError, match="No space left"), mounted.file.open("wb", buffering=0) as file:
        file.write(b"x")


def test_disksize_rounds_up_to_a_page_and_shows_at_once(mount: Mount) -> None:
    mounted = mount(size=None)
    assert mounted.file.stat().st_size == 0
    assert answer(mounted, "disksize", "16777217") == "ok(8)"
    assert mounted.show("disksize") == "16781312\n"
    assert mounted.file.stat().st_size == 16781312
    assert mounted.show("initstate") == "1\n"


def test_write_only_attribute_cannot_be_read_even_by_root(mount: Mount) -> None:
    with pytest.raises(PermissionError):
        mount().show("reset")


def test_shell_redirection_works(mount: Mount) -> None:
    mounted = mount(size=None)
    assert os.system(f"echo 16M > {mounted.attribute('disksize')}") == 0  # noqa: S605
    assert mounted.show("disksize") == "16777216\n"


def test_reset_is_refused_while_open_and_forgets_everything(mount: Mount) -> None:
    mounted = mount("--mem-limit", "8M", size="16M")
    with mounted.file.open("r+b", buffering=0) as file:
        file.write(os.urandom(MIB))
        assert answer(mounted, "reset", "1") == "EBUSY"
        assert mounted.device()["mm_stat"]["orig_data_size"] == MIB
    assert answer(mounted, "reset", "1") == "ok(1)"
    assert mounted.show("mm_stat") == " ".join(["       0"] * 9) + "\n"
    assert mounted.file.stat().st_size == 0
    assert answer(mounted, "disksize", "32M") == "ok(3)"
    assert mounted.file.read_bytes() == bytes(32 * MIB)


def test_backing_dev_of_any_name_is_found_and_shown(mount: Mount, tmp_path: Path) -> None:
    mounted = mount(size=None)
    name = os.fsencode(tmp_path) + b"/\xc3\xa4\xff\n"
    Path(os.fsdecode(name)).write_bytes(bytes(MIB))
    mounted.attribute("backing_dev").write_bytes(name + b"\n")
    assert mounted.attribute("backing_dev").read_bytes() == name + b"\n"


def test_value_ends_at_a_nul(mount: Mount) -> None:
    mounted = mount(size=None)
    assert answer(mounted, "stream_policy", "managed\0junk") == "ok(12)"
    assert mounted.show("stream_policy") == "auto [managed] percpu\n"
    assert answer(mounted, "stream_policy", "\0managed") == "EINVAL"


def test_mem_limit_gives_eio_keeps_old_data_and_can_be_raised(mount: Mount) -> None:
    mounted = mount(size="16M")
    first = os.urandom(MIB)
    with mounted.file.open("r+b", buffering=0) as file:
        assert file.write(first) == MIB
        assert answer(mounted, "mem_limit", "2M") == "ok(2)"
        failures = 0
        for page in range(512):
            try:
                os.pwrite(file.fileno(), os.urandom(4096), 4 * MIB + page * 4096)
            except OSError as error:
                assert error.errno == errno.EIO
                failures += 1
        assert failures == 256
        assert mounted.device()["io_stat"]["failed_writes"] == failures
        with pytest.raises(OSError, match="Input/output error"):
            os.pwrite(file.fileno(), os.urandom(4096), 0)
        assert os.pread(file.fileno(), MIB, 0) == first
        assert answer(mounted, "mem_limit", "0") == "ok(1)"
        assert os.pwrite(file.fileno(), first, 8 * MIB) == MIB


def test_mem_used_max_starts_again_from_what_is_used(mount: Mount) -> None:
    mounted = mount(size="16M")
    with mounted.file.open("r+b", buffering=0) as file:
        file.write(os.urandom(MIB))
        os.pwrite(file.fileno(), bytes(MIB), 0)
    memory = mounted.device()["mm_stat"]
    assert memory["mem_used_max"] == MIB
    assert memory["mem_used_total"] == 0
    assert answer(mounted, "mem_used_max", "0") == "ok(1)"
    assert mounted.device()["mm_stat"]["mem_used_max"] == 0


def test_compaction_gives_memory_back(mount: Mount) -> None:
    mounted = mount(size="64M")
    half = (os.urandom(1500) + bytes(2596)) * 256
    with mounted.file.open("r+b", buffering=0) as file:
        for megabyte in range(32):
            os.pwrite(file.fileno(), half, megabyte * MIB)
        for page in range(0, 32 * 256, 2):
            os.pwrite(file.fileno(), bytes(4096), page * 4096)
        os.fsync(file.fileno())
        before = mounted.device()["mm_stat"]["mem_used_total"]
        assert answer(mounted, "compact", "1") == "ok(1)"
        after = mounted.device()["mm_stat"]
        assert after["mem_used_total"] < 0.6 * before
        assert after["pages_compacted"] * 4096 == before - after["mem_used_total"]
        assert os.pread(file.fileno(), 4096, 4096) == half[4096:8192]


def test_stat_counts_requests_and_sectors(mount: Mount) -> None:
    mounted = mount(size="16M")
    fd = os.open(mounted.file, os.O_RDWR | os.O_DSYNC)
    for page in range(10):
        os.pwrite(fd, os.urandom(4096), page * 4096)
    os.close(fd)
    fields = [int(field) for field in mounted.show("stat").split()]
    assert len(fields) == 17
    assert (fields[4], fields[6]) == (10, 80)


def test_status_json_has_what_is_promised(mount: Mount) -> None:
    status = mount().status()
    assert set(status["daemon"]) == {
        *("pid", "version", "rss_bytes", "request_bytes", "request_limit_bytes", "transport", "metrics")
    }
    device = status["devices"][0]
    assert {"name", "disksize", "algorithm", "algorithms", "mm_stat", "io_stat", "streams", "accel"} <= set(device)
    assert {
        "percpu_pages", "managed_pages", "fallback_pages", "managed_streams", "percpu_streams", "inflight",
        "inflight_max",
    } <= set(device["streams"])  # fmt: skip


def test_report_has_the_texts_of_the_files_of_each_device_that_there_is(mount: Mount) -> None:
    mounted = mount("--devices", "2")
    (mounted.path / "sys/class/zram-control/hot_remove").write_text("1")
    report = json.loads((mounted.path / "sys/fs/zramfs/report").read_text())
    changing = {"sys/fs/zramfs/rss_bytes", "sys/fs/zramfs/transport"}
    assert {path: (mounted.path / path).read_text() for path in report if path not in changing} == {
        path: text for path, text in report.items() if path not in changing
    }
    assert {"sys/fs/zramfs/pid", "sys/block/zram0/mm_stat", "sys/block/zram0/accel/stat"} <= set(report)
    assert not [path for path in report if "zram1" in path]
