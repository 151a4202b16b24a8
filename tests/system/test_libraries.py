"""What a verb says where a shared library is missing: in a mount namespace, an empty file lies over it."""

import re
import subprocess
from pathlib import Path

import pytest
from mounts import ZRAMFS

import zramfs


def path_of(library: str, extension: str) -> str:
    """Where the dynamic linker finds a library for one of our extension modules."""
    [module] = Path(zramfs.__file__).parent.glob(f"{extension}.*.so")
    found = re.search(rf"{library}\.so\S* => (\S+)", subprocess.check_output(["ldd", module], text=True))
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("library", "extension", "package", "arguments"),
    [
        ("libfuse3", "fuse/interposed", "libfuse3-3", ["--help"]),
        ("libfuse3", "fuse/interposed", "libfuse3-3", ["mount", "{tmp}"]),
        ("liblz4", "codec/lz4", "liblz4-1", ["mount", "{tmp}"]),
        ("libzstd", "codec/zstd", "libzstd1", ["mount", "{tmp}", "--algorithm", "zstd"]),
        ("libz", "codec/deflate", "zlib1g", ["mount", "{tmp}", "--algorithm", "deflate"]),
        ("libdeflate", "codec/deflate", "libdeflate0", ["mount", "{tmp}", "--algorithm", "deflate"]),
    ],
)
def test_missing_library_is_one_line_that_names_its_package(
    tmp_path: Path, library: str, extension: str, package: str, arguments: list[str]
) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    (tmp_path / "mnt").mkdir()
    script = f"mount --bind {empty} $(readlink -f {path_of(library, extension)}) && exec {ZRAMFS} $0 $@"
    words = [argument.format(tmp=tmp_path / "mnt") for argument in arguments]
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"install the package {package} (" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_verb_that_only_looks_at_a_mount_needs_no_library(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    extensions = {
        "libfuse3": "fuse/interposed",
        "liblz4": "codec/lz4",
        "libzstd": "codec/zstd",
        "libz": "codec/deflate",
    }
    hidden = [path_of(library, extension) for library, extension in extensions.items()]
    script = f"for path in {' '.join(hidden)}; do mount --bind {empty} $(readlink -f $path); done; exec {ZRAMFS} $0 $@"
    for verb in ("status", "umount"):
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", script, verb, tmp_path], capture_output=True, text=True, check=False
        )
        assert done.stderr == f"zramfs: no zramfs is mounted at {tmp_path}\n"
        assert done.returncode == 1
