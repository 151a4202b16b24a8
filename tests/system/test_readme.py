"""README.md, word by word: its first session."""

from pathlib import Path

from guides import blocks_of, follow


def test_first_session(reader_folder: Path, environment: dict[str, str]) -> None:
    printed = follow(blocks_of("README.md", "A first session"), reader_folder, environment)
    assert "managed_pages" in printed
    counters = dict(line.split() for line in printed.splitlines() if line.startswith(("injected_", "software_redone ")))
    assert int(counters["injected_bus_error"]) > 0
    assert int(counters["software_redone"]) > 0
    assert str(reader_folder) not in Path("/proc/mounts").read_text()
    assert str(reader_folder) not in Path("/proc/swaps").read_text()
