"""docs/first_minutes.md, word by word: what it says to write and to type, in its order."""

from pathlib import Path

import pytest
from guides import blocks_of, follow, own_environment

from zramfs.mountpoint import find_mount, unmount


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return own_environment(tmp_path_factory.mktemp("environment"))


def test_python_developer(tmp_path: Path, environment: dict[str, str]) -> None:
    printed = follow(blocks_of("docs/first_minutes.md", "A Python developer"), tmp_path, environment)
    assert "times smaller in memory" in printed
    assert "2 passed" in printed
    assert "zstd " in printed


def test_storage_engineer(tmp_path: Path, environment: dict[str, str]) -> None:
    try:
        printed = follow(blocks_of("docs/first_minutes.md", "A storage engineer"), tmp_path, environment)
    finally:
        left = find_mount(tmp_path / "z")
        if left is not None:
            unmount(left, lazily=True)
    counters = dict(line.split() for line in printed.splitlines() if line.startswith(("injected", "software_redone")))
    assert int(counters["injected_bus_error"]) > 0
    assert int(counters["software_redone"]) > 0
    assert "no room, as expected" in printed
