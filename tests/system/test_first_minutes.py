"""docs/first_minutes.md, word by word: what it says to write and to type, in its order."""

from pathlib import Path

from guides import blocks_of, follow, sections_of

PAGE = "docs/first_minutes.md"


def follow_section(title: str, folder: Path, environment: dict[str, str]) -> str:
    """Do what a section says; what its commands print. They leave nothing mounted."""
    printed = follow(blocks_of(PAGE, title), folder, environment)
    assert str(folder) not in Path("/proc/mounts").read_text()
    return printed


def counters_in(printed: str) -> dict[str, int]:
    """The lines `key value`."""
    pairs = (line.split() for line in printed.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def test_soc_engineer(reader_folder: Path, environment: dict[str, str]) -> None:
    counters = counters_in(follow_section("A SoC engineer", reader_folder, environment))
    assert counters["managed_pages"] > 0
    assert counters["percpu_pages"] > 0


def test_ci_engineer(reader_folder: Path, environment: dict[str, str]) -> None:
    follow_section("A CI engineer", reader_folder, environment)


def test_storage_engineer(reader_folder: Path, environment: dict[str, str]) -> None:
    printed = follow_section("A storage engineer", reader_folder, environment)
    counters = counters_in(printed)
    assert counters["injected_bus_error"] > 0
    assert counters["software_redone"] > 0
    assert "no room, as expected" in printed


def test_python_developer(reader_folder: Path, environment: dict[str, str]) -> None:
    printed = follow_section("A Python developer", reader_folder, environment)
    assert "times smaller in memory" in printed
    assert "2 passed" in printed
    assert "zstd " in printed


def test_administrator(reader_folder: Path, environment: dict[str, str]) -> None:
    assert "/dev/loop" in follow_section("An administrator", reader_folder, environment)


def test_each_section_has_a_test() -> None:
    names = {f"test_{title.split(' ', 1)[1].replace(' ', '_').lower()}" for title in sections_of(PAGE)}
    assert names <= set(globals())
    assert len(names) == 5
