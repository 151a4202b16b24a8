"""What `make wheel` has made: installed in a fresh environment without a compiler, mounted with. `make try-wheel`."""

import csv
import os
import subprocess
import tarfile
import venv
import zipfile
from base64 import urlsafe_b64encode
from email.parser import BytesParser
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
MOST_BYTES = 3 << 20

pytestmark = pytest.mark.skipif(not DIST.is_dir(), reason="there are no packages: make wheel")


def the_only(pattern: str) -> Path:
    (found,) = DIST.glob(pattern)
    return found


def run(*command: object) -> str:
    """Run a command that finds no compiler."""
    environment = os.environ | {"CC": "false", "CXX": "false", "PYTHONPATH": ""}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of an environment are that has the wheels of dist/; the rest comes from the index."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    pip = (folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:")
    run(*pip, "--find-links", DIST, the_only("zramfs-*.whl"))
    return folder / "bin"


def test_wheel_has_no_sources_and_its_libraries() -> None:
    names = zipfile.ZipFile(the_only("zramfs-*.whl")).namelist()
    assert not [name for name in names if name.endswith((".c", ".h", ".pyx"))]
    assert [name for name in names if name.endswith("/py.typed")]
    libraries = {
        name.rpartition("/")[2].partition("-")[0] for name in names if name.partition("/")[0].endswith(".libs")
    }
    assert {"liblz4", "libzstd", "libdeflate"} <= libraries
    assert "libfuse3" not in libraries
    assert "zramfs/manual/prose/zramfs.md" in names


@pytest.mark.parametrize("wheel", ["zramfs-*.whl", "pyfuse3-*.whl"])
def test_each_library_in_a_wheel_has_its_licence(wheel: str) -> None:
    archive = zipfile.ZipFile(the_only(wheel))
    (dist_info,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    told = BytesParser().parsebytes(archive.read(f"{dist_info}/METADATA")).get_all("License-File", [])
    for library in [name for name in archive.namelist() if name.partition("/")[0].endswith(".libs")]:
        assert f"{library}.txt" in told
        assert "opyright" in archive.read(f"{dist_info}/licenses/{library}.txt").decode()


@pytest.mark.parametrize("wheel", ["zramfs-*.whl", "pyfuse3-*.whl"])
def test_record_has_every_file_as_it_is(wheel: str) -> None:
    archive = zipfile.ZipFile(the_only(wheel))
    (record,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
    listed = {name: (digest, size) for name, digest, size in csv.reader(archive.read(record).decode().splitlines())}
    assert listed.pop(record) == ("", "")
    contents = {name: archive.read(name) for name in archive.namelist() if name != record and name[-1] != "/"}
    digests = {name: urlsafe_b64encode(sha256(each).digest()).decode().rstrip("=") for name, each in contents.items()}
    assert listed == {name: (f"sha256={digests[name]}", str(len(each))) for name, each in contents.items()}


def test_wheel_is_small_and_for_this_libc_or_a_newer_one() -> None:
    wheel = the_only("zramfs-*.whl")
    assert wheel.stat().st_size < MOST_BYTES
    assert "manylinux" in wheel.name


def test_wheel_brings_the_manual(programs: Path) -> None:
    assert (programs.parent / "share/man/man1/zramfs-mount.1").is_file()
    assert (programs.parent / "share/man/man1/zramfs.1").is_file()


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="a mount needs root and /dev/fuse")
def test_every_algorithm_of_the_installed_wheel_stores_data(programs: Path, tmp_path: Path) -> None:
    for algorithm in ("lz4", "lz4hc", "zstd", "deflate", "lzo", "lzo-rle"):
        mountpoint = tmp_path / algorithm
        mountpoint.mkdir()
        run(programs / "zramfs", "mount", mountpoint, "--size", "16M", "--algorithm", algorithm)
        try:
            data = b"a line of text, and another one\n" * 50_000
            with (mountpoint / "zram0").open("r+b") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                assert file.read(len(data)) == data
            assert "managed_streams" in (mountpoint / "sys/block/zram0/stream_stat").read_text()
        finally:
            run(programs / "zramfs", "umount", mountpoint)


def test_source_distribution_has_what_a_build_needs() -> None:
    with tarfile.open(the_only("zramfs-*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    kinds = {".py", ".pyi", ".pyx", ".pxd", ".toml", ".md", ".html", ".css", ".fio"}
    needed = {str(path.relative_to(ROOT)) for path in (ROOT / "zramfs").rglob("*") if path.suffix in kinds}
    assert {*needed, "zramfs/codec/lz4_page.c", "zramfs/codec/lz4_page.h", "zramfs/receive/io_ring.c"} <= names
    assert not [name for name in names if name.endswith(".so")]
