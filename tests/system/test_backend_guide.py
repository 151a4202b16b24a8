"""docs/backend_packages.md, word by word: its two packages are installed and mounted with."""

from pathlib import Path

import pytest
from guides import blocks_of, follow, own_environment

from zramfs.mountpoint import find_mount, unmount

FILES_AND_COMMANDS = [
    block for block in blocks_of("docs/backend_packages.md") if block.language and "clone of zramfs" not in block.text
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return own_environment(tmp_path_factory.mktemp("environment"))


def test_packages_of_the_page_are_installed_and_mounted_with(tmp_path: Path, environment: dict[str, str]) -> None:
    try:
        printed = follow(FILES_AND_COMMANDS, tmp_path, environment)
    finally:
        left = find_mount(tmp_path / "z")
        if left is not None:
            unmount(left, lazily=True)
    assert "[xz]" in printed
    stream_stat = dict(line.split(" ", 1) for line in printed.splitlines() if line.startswith(("managed_", "percpu_")))
    assert int(stream_stat["managed_pages"]) > 0


def test_files_of_the_page_are_read_as_what_they_are() -> None:
    assert [block.file for block in FILES_AND_COMMANDS if block.file] == [
        "zramfs-xz/pyproject.toml",
        "zramfs-xz/zramfs_xz.py",
        "zramfs-xz/zramfs_xz.py",
    ]
