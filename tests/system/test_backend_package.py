"""A backend of another package, `tests/example_backend`: installed, mounted, and held to the contract.

Those of `tests/hostile_backend` break it.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import MIB, Mounted

TESTS = Path(__file__).parents[1]

Mount = Callable[..., Mounted]
Fio = Callable[..., None]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the packages into a folder of their own, from copies: building leaves files behind."""
    source = tmp_path_factory.mktemp("source")
    target = tmp_path_factory.mktemp("installed")
    folders = [shutil.copytree(TESTS / name, source / name) for name in ("example_backend", "hostile_backend")]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", target, *folders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(autouse=True)
def _installed(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(package))


def test_package_is_listed_and_takes_every_kind_of_write(mount: Mount, fio: Fio) -> None:
    mounted = mount("--algorithm", "zlib")
    assert "[zlib]" in mounted.show("comp_algorithm")
    common = ("--direct=1", "--ioengine=libaio", "--buffer_compress_percentage=60")
    fio(mounted.file, "--rw=randwrite", "--bs=4k", "--iodepth=32", "--size=8M", *common)
    fio(mounted.file, "--rw=write", "--bs=1M", "--iodepth=4", "--size=16M", *common)
    fio(mounted.file, "--rw=randwrite", "--bs=4k", "--size=2M", "--sync=1", "--ioengine=psync", "--direct=1")
    streams = mounted.streams()
    assert streams["managed_streams"] == 16
    assert streams["managed_pages"] + streams["fallback_pages"] == 24 * MIB // 4096
    assert streams["managed_pages"] > 0
    assert streams["percpu_pages"] == 2 * MIB // 4096
    assert streams["inflight"] == 0


def test_package_manages_no_streams_without_an_accelerator(mount: Mount, fio: Fio) -> None:
    mounted = mount("--algorithm", "zlib", "--accel", "none")
    fio(mounted.file, "--rw=write", "--bs=64k", "--direct=1", "--ioengine=libaio", "--iodepth=4", "--size=4M")
    assert mounted.streams()["percpu_pages"] == 4 * MIB // 4096
    assert mounted.streams()["managed_streams"] == 0


def test_package_ends_with_its_device(mount: Mount) -> None:
    mounted = mount("--algorithm", "zlib")
    mounted.file.write_bytes(b"stream " * 100_000)
    mounted.attribute("reset").write_text("1")
    assert mounted.show("initstate") == "0\n"
    threads = [task.joinpath("comm").read_text().strip() for task in Path(f"/proc/{mounted.pid}/task").iterdir()]
    assert not any("zlib" in name for name in threads)


def test_package_passes_the_conformance_suite() -> None:
    suite = TESTS / "unit/backends/test_conformance.py"
    command = [sys.executable, "-m", "pytest", suite, "-q", "-k", "zlib", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TESTS.parent)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize(
    ("algorithm", "promise"), [("miscounting", "submit"), ("promising", "when_free"), ("silent", "a run")]
)
def test_package_that_breaks_its_contract_costs_time_and_no_data(
    mount: Mount, fio: Fio, algorithm: str, promise: str
) -> None:
    mounted = mount("--algorithm", algorithm)
    common = ("--direct=1", "--ioengine=libaio", "--buffer_compress_percentage=60")
    fio(mounted.file, "--rw=randwrite", "--bs=4k", "--iodepth=32", "--size=2M", *common)
    fio(mounted.file, "--rw=write", "--bs=1M", "--iodepth=4", "--size=4M", *common)
    assert f"zramfs_hostile (algorithm {algorithm}): {promise}" in mounted.log.read_text()
    if algorithm != "promising":  # only waiting for it has no use
        assert "managed_error zramfs_hostile" in mounted.show("stream_stat")
        assert mounted.streams()["managed_streams"] == 0
    assert len(mounted.log.read_text().splitlines()) < 20


def test_daemon_ends_beside_streams_that_never_complete(mount: Mount) -> None:
    mounted = mount("--algorithm", "silent")
    data = os.urandom(64 << 10)
    writer = subprocess.Popen(
        ["dd", f"of={mounted.file}", "bs=64k", "oflag=direct", "conv=notrunc", "status=none"], stdin=subprocess.PIPE
    )
    assert writer.stdin is not None
    writer.stdin.write(data)
    writer.stdin.close()
    while not mounted.streams()["inflight"]:
        assert mounted.is_running()
    os.kill(mounted.pid, signal.SIGTERM)
    mounted.wait_for_daemon_end(10.0)
    assert writer.wait(10) in (0, 1)
