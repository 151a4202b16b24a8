"""docs/backend_packages.md, word by word: its two packages are installed and mounted with."""

from pathlib import Path

from guides import blocks_of, follow

FILES_AND_COMMANDS = [
    block for block in blocks_of("docs/backend_packages.md") if block.language and "clone of zramfs" not in block.text
]


def test_packages_of_the_page_are_installed_and_mounted_with(reader_folder: Path, environment: dict[str, str]) -> None:
    printed = follow(FILES_AND_COMMANDS, reader_folder, environment)
    assert "[xz]" in printed
    stream_stat = dict(line.split(" ", 1) for line in printed.splitlines() if line.startswith(("managed_", "percpu_")))
    assert int(stream_stat["managed_pages"]) > 0


def test_files_of_the_page_are_read_as_what_they_are() -> None:
    assert [block.file for block in FILES_AND_COMMANDS if block.file] == [
        "zramfs-xz/pyproject.toml",
        "zramfs-xz/zramfs_xz.py",
        "zramfs-xz/zramfs_xz.py",
    ]
