"""The fixture `zramfs_disk` in a test suite of another package: how it is set, and what it says where it cannot be."""

import subprocess
import sys
from pathlib import Path

import pytest

_SUITE = """
import pytest

{marks}
def test_size(zramfs_disk):
    assert zramfs_disk.block_file.stat().st_size == {mib} << 20
"""

_WITHOUT_FUSE = "mount -t tmpfs none /dev && touch /dev/null && chmod 666 /dev/null && exec "
"""In a mount namespace of its own: /dev without fuse."""


OTHERS = ("hypothesispytest", "timeout", "trio", "xdist")
"""Plugins that the suite does not need, and that take half a second to import."""


def run_suite(
    folder: Path, *, marks: str = "", mib: int = 256, ini: str = "", before: str = ""
) -> subprocess.CompletedProcess[str]:
    (folder / "test_suite.py").write_text(_SUITE.format(marks=marks, mib=mib))
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}")
    words = [sys.executable, "-m", "pytest", "-rs", "-q", "-W", "error", "--strict-markers", "-p", "no:cacheprovider"]
    words += [word for name in OTHERS for word in ("-p", f"no:{name}")]
    command = ["unshare", "--mount", "sh", "-c", f'{before}"$@"', "sh", *words] if before else words
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.parametrize(
    ("marks", "ini", "mib"),
    [
        ("", "", 256),
        ("", "zramfs_disk = size=8M", 8),
        ("@pytest.mark.zramfs_disk(size='4M')", "zramfs_disk =\n    size=8M\n    algorithm=zstd", 4),
        ("pytestmark = pytest.mark.zramfs_disk(size='16M')\n@pytest.mark.zramfs_disk(size='4M')", "", 4),
    ],
)
def test_disk_is_as_the_nearest_says(tmp_path: Path, marks: str, ini: str, mib: int) -> None:
    done = run_suite(tmp_path, marks=marks, ini=ini, mib=mib)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_test_is_skipped_where_there_is_no_fuse(tmp_path: Path) -> None:
    done = run_suite(tmp_path, before=_WITHOUT_FUSE)
    assert "1 skipped" in done.stdout, done.stdout + done.stderr
    assert "zramfs_disk: /dev/fuse is missing: load the kernel's module with: modprobe fuse" in done.stdout


@pytest.mark.parametrize(
    ("marks", "ini", "line"),
    [
        ("", "zramfs_disk = 8M", "zramfs_disk: '8M' is not name=value"),
        ("", "zramfs_disk = colour=red", "zramfs_disk: mount() got an unexpected keyword argument 'colour'"),
        ("@pytest.mark.zramfs_disk('8M')", "", "zramfs_disk takes its arguments by name"),
        ("@pytest.mark.zramfs_disk(size='much')", "", "Invalid value for size: 'much' is not a size"),
    ],
)
def test_setting_that_cannot_be_is_said_in_a_line(tmp_path: Path, marks: str, ini: str, line: str) -> None:
    done = run_suite(tmp_path, marks=marks, ini=ini)
    assert done.returncode != 0
    assert line in done.stdout
